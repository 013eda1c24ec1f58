"""Blocks shared by the architectures: convolution with normalisation, and decoder blocks.

Layer names and initialisers are those of segmentation_models 1.0.1.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Protocol

import keras
from keras import layers

from maskwright.errors import InputError

Norm = Callable[..., keras.layers.Layer]
"""A factory of normalisation layers, called as ``norm(name=...)``."""

batch_norm: Final[Norm] = layers.BatchNormalization  # Keras defaults: momentum 0.99, epsilon 1e-3
torch_batch_norm: Final[Norm] = partial(layers.BatchNormalization, momentum=0.9, epsilon=1e-5)  # torch defaults


class SkipSizeMismatch(InputError):
    """A skip connection whose height or width differs from that of its decoder block."""

    text = (
        "the skip connection of {block} has {found} pixels, but the feature map of the block has {expected}. "
        "List the skip connections from deep to shallow, and use upsampling rates equal to the backbone's strides and "
        "an image size that is divisible by them."
    )


class Attention(Protocol):
    """Function that scales a feature map without changing its shape."""

    def __call__(self, x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
        """Apply the attention to ``x``, using layers whose names start with ``name``."""
        ...


def no_attention(x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
    """Return ``x`` unchanged."""
    return x


class DecoderBlock(Protocol):
    """Function that upsamples a feature map and merges it with a skip connection."""

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
        """Upsample ``x`` (n, h, w, c) and merge it with ``skip`` (n, rate * h, rate * w, s), unless ``skip`` is None.

        The output has the shape (n, rate * h, rate * w, filters).
        """
        ...


def norm_relu(x: keras.KerasTensor, *, norm: Norm | None, name: str) -> keras.KerasTensor:
    """Apply the normalisation, unless ``norm`` is None, and then ReLU."""
    if norm is not None:
        x = norm(name=f"{name}_bn")(x)
    return layers.Activation("relu", name=f"{name}_relu")(x)


def conv_bn_relu(
    x: keras.KerasTensor, filters: int, *, size: int = 3, norm: Norm | None, name: str
) -> keras.KerasTensor:
    """Apply a convolution with same padding, normalisation and ReLU; the bias is used only without normalisation."""
    conv = layers.Conv2D(
        filters,
        size,
        padding="same",
        use_bias=norm is None,
        kernel_initializer="he_uniform",
        name=f"{name}_conv",
    )
    return norm_relu(conv(x), norm=norm, name=name)


def check_skip_size(x: keras.KerasTensor, skip: keras.KerasTensor, *, name: str) -> None:
    """Check that ``skip`` has the height and width of ``x``, the feature map of the block ``name``.

    Raises:
        SkipSizeMismatch: The sizes of ``x`` and ``skip`` are known and differ.
    """
    sides = list(zip(x.shape[1:3], skip.shape[1:3], strict=True))
    if any(None not in pair and len(set(pair)) > 1 for pair in sides):
        expected, found = (" x ".join(map(str, size)) for size in zip(*sides, strict=True))
        raise SkipSizeMismatch(block=name, found=found, expected=expected)


def concatenate_skip(
    x: keras.KerasTensor, skip: keras.KerasTensor | None, *, name: str, attention: Attention = no_attention
) -> keras.KerasTensor:
    """Concatenate ``x`` and ``skip`` and apply the attention, or return ``x`` if ``skip`` is None.

    Raises:
        SkipSizeMismatch: The sizes of ``x`` and ``skip`` are known and differ.
    """
    if skip is None:
        return x
    check_skip_size(x, skip, name=name)
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
    """Upsample by nearest neighbour, concatenate the skip connection and convolve twice."""
    x = layers.UpSampling2D(rate, interpolation="nearest", name=f"{name}_upsampling")(x)
    x = concatenate_skip(x, skip, attention=attention, name=name)
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
    """Upsample by a 4x4 transposed convolution, concatenate the skip connection and convolve once."""
    transpose = layers.Conv2DTranspose(
        filters, 4, strides=rate, padding="same", use_bias=norm is None, name=f"{name}a_transpose"
    )
    x = norm_relu(transpose(x), norm=norm, name=f"{name}a")
    x = concatenate_skip(x, skip, attention=attention, name=name)
    x = conv_bn_relu(x, filters, norm=norm, name=f"{name}b")
    return attention(x, name=f"{name}_attention2")


DECODER_BLOCKS: Final[Mapping[str, DecoderBlock]] = {"upsampling": upsampling_block, "transpose": transpose_block}
