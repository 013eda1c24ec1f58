"""Blocks shared by the architectures: convolution with a normalisation, and two ways to enlarge a map.

Layer names and initialisers are those of the reference library segmentation_models 1.0.1.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Protocol

import keras
from keras import layers

from maskwright.errors import InputError

Norm = Callable[..., keras.layers.Layer]
"""A factory of normalisations, called as ``norm(name=...)``."""

batch_norm: Final[Norm] = layers.BatchNormalization  # Keras' defaults, momentum 0.99 and epsilon 1e-3
torch_batch_norm: Final[Norm] = partial(layers.BatchNormalization, momentum=0.9, epsilon=1e-5)  # torch's defaults


class SkipSizeMismatch(InputError):
    """A skip connection whose height and width are not those of the decoder block it should join."""

    text = (
        "the skip connection of {block} is {found} pixels and the block's own map {expected}. "
        "Give skip connections from deep to shallow, rates that undo the backbone's strides, and an image size that "
        "these strides divide."
    )


class Attention(Protocol):
    """Reweighs a map and keeps its shape."""

    def __call__(self, x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
        """Append the attention to ``x``; the names of its layers start with ``name``."""
        ...


def no_attention(x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
    """``x`` itself."""
    return x


class DecoderBlock(Protocol):
    """Enlarges a map and joins it with a skip connection of the encoder."""

    def __call__(
        self,
        x: keras.KerasTensor,
        skip: keras.KerasTensor | None,
        *,
        filters: int,
        rate: int,
        norm: Norm | None,
        name: str,
        attention: Attention = no_attention,
    ) -> keras.KerasTensor:
        """Turn (n, h, w, c) and a skip (n, rate * h, rate * w, s), or None, into (n, rate * h, rate * w, filters)."""
        ...


def norm_relu(x: keras.KerasTensor, *, norm: Norm | None, name: str) -> keras.KerasTensor:
    """The normalisation, where there is one, and ReLU."""
    if norm is not None:
        x = norm(name=f"{name}_bn")(x)
    return layers.Activation("relu", name=f"{name}_relu")(x)


def conv_bn_relu(
    x: keras.KerasTensor, filters: int, *, size: int = 3, norm: Norm | None, name: str
) -> keras.KerasTensor:
    """A convolution that keeps the size, normalised and rectified; biased only without normalisation."""
    conv = layers.Conv2D(
        filters,
        size,
        padding="same",
        use_bias=norm is None,
        kernel_initializer="he_uniform",
        name=f"{name}_conv",
    )
    return norm_relu(conv(x), norm=norm, name=name)


def check_sizes(x: keras.KerasTensor, skip: keras.KerasTensor, *, name: str) -> None:
    """Require that ``skip`` be as high and wide as ``x``, the map of the block ``name`` that it joins.

    Raises:
        SkipSizeMismatch: both sizes are known and differ.
    """
    sides = list(zip(x.shape[1:3], skip.shape[1:3], strict=True))
    if any(None not in pair and len(set(pair)) > 1 for pair in sides):
        expected, found = (" x ".join(map(str, size)) for size in zip(*sides, strict=True))
        raise SkipSizeMismatch(block=name, found=found, expected=expected)


def join(
    x: keras.KerasTensor, skip: keras.KerasTensor | None, *, name: str, attention: Attention = no_attention
) -> keras.KerasTensor:
    """``x`` with the channels of ``skip`` behind its own, weighed by ``attention``; ``x`` itself without a skip.

    Raises:
        SkipSizeMismatch: both sizes are known and differ.
    """
    if skip is None:
        return x
    check_sizes(x, skip, name=name)
    return attention(layers.Concatenate(name=f"{name}_concat")([x, skip]), name=f"{name}_attention1")


def upsampling_block(
    x: keras.KerasTensor,
    skip: keras.KerasTensor | None,
    *,
    filters: int,
    rate: int,
    norm: Norm | None,
    name: str,
    attention: Attention = no_attention,
) -> keras.KerasTensor:
    """Repeat every pixel ``rate`` times each way, join the skip, convolve twice."""
    x = layers.UpSampling2D(rate, interpolation="nearest", name=f"{name}_upsampling")(x)
    x = join(x, skip, attention=attention, name=name)
    x = conv_bn_relu(x, filters, norm=norm, name=f"{name}a")
    x = conv_bn_relu(x, filters, norm=norm, name=f"{name}b")
    return attention(x, name=f"{name}_attention2")


def transpose_block(
    x: keras.KerasTensor,
    skip: keras.KerasTensor | None,
    *,
    filters: int,
    rate: int,
    norm: Norm | None,
    name: str,
    attention: Attention = no_attention,
) -> keras.KerasTensor:
    """Enlarge by a learned 4x4 transposed convolution, join the skip, convolve once."""
    transpose = layers.Conv2DTranspose(
        filters, 4, strides=rate, padding="same", use_bias=norm is None, name=f"{name}a_transpose"
    )
    x = norm_relu(transpose(x), norm=norm, name=f"{name}a")
    x = join(x, skip, attention=attention, name=name)
    x = conv_bn_relu(x, filters, norm=norm, name=f"{name}b")
    return attention(x, name=f"{name}_attention2")


DECODER_BLOCKS: Final[Mapping[str, DecoderBlock]] = {"upsampling": upsampling_block, "transpose": transpose_block}
