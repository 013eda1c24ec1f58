"""Blocks shared by the architectures: convolution with batch normalisation, and two ways to enlarge a map.

Layer names and initialisers are those of the reference library segmentation_models 1.0.1.
"""

from collections.abc import Mapping
from typing import Final, Protocol

import keras
from keras import layers

from maskwright.errors import InputError


class SkipSizeMismatch(InputError):
    """A skip connection whose height and width are not those of the decoder block it should join."""

    text = (
        "the skip connection of {block} is {found} pixels and the block's own map {expected}. "
        "Give skip connections from deep to shallow, rates that undo the backbone's strides, and an image size that "
        "these strides divide."
    )


class DecoderBlock(Protocol):
    """Enlarges a map and joins it with a skip connection of the encoder."""

    def __call__(
        self,
        x: keras.KerasTensor,
        skip: keras.KerasTensor | None,
        *,
        filters: int,
        rate: int,
        use_batchnorm: bool,
        name: str,
    ) -> keras.KerasTensor:
        """Turn (n, h, w, c) and a skip (n, rate * h, rate * w, s), or None, into (n, rate * h, rate * w, filters)."""
        ...


def bn_relu(x: keras.KerasTensor, *, use_batchnorm: bool, name: str) -> keras.KerasTensor:
    """Batch normalisation, where wanted, and ReLU."""
    if use_batchnorm:
        x = layers.BatchNormalization(name=f"{name}_bn")(x)
    return layers.Activation("relu", name=f"{name}_relu")(x)


def conv_bn_relu(x: keras.KerasTensor, filters: int, *, use_batchnorm: bool, name: str) -> keras.KerasTensor:
    """A 3x3 convolution that keeps the size, normalised and rectified; biased only without normalisation."""
    conv = layers.Conv2D(
        filters,
        3,
        padding="same",
        use_bias=not use_batchnorm,
        kernel_initializer="he_uniform",
        name=f"{name}_conv",
    )
    return bn_relu(conv(x), use_batchnorm=use_batchnorm, name=name)


def join(x: keras.KerasTensor, skip: keras.KerasTensor | None, *, name: str) -> keras.KerasTensor:
    """``x`` with the channels of ``skip`` behind its own, or ``x`` itself where there is no skip.

    Raises:
        SkipSizeMismatch: both sizes are known and differ.
    """
    if skip is None:
        return x
    sides = list(zip(x.shape[1:3], skip.shape[1:3], strict=True))
    if any(None not in pair and len(set(pair)) > 1 for pair in sides):
        expected, found = (" x ".join(map(str, size)) for size in zip(*sides, strict=True))
        raise SkipSizeMismatch(block=name, found=found, expected=expected)
    return layers.Concatenate(name=f"{name}_concat")([x, skip])


def upsampling_block(
    x: keras.KerasTensor,
    skip: keras.KerasTensor | None,
    *,
    filters: int,
    rate: int,
    use_batchnorm: bool,
    name: str,
) -> keras.KerasTensor:
    """Repeat every pixel ``rate`` times each way, join the skip, convolve twice."""
    x = layers.UpSampling2D(rate, interpolation="nearest", name=f"{name}_upsampling")(x)
    x = join(x, skip, name=name)
    x = conv_bn_relu(x, filters, use_batchnorm=use_batchnorm, name=f"{name}a")
    return conv_bn_relu(x, filters, use_batchnorm=use_batchnorm, name=f"{name}b")


def transpose_block(
    x: keras.KerasTensor,
    skip: keras.KerasTensor | None,
    *,
    filters: int,
    rate: int,
    use_batchnorm: bool,
    name: str,
) -> keras.KerasTensor:
    """Enlarge by a learned 4x4 transposed convolution, join the skip, convolve once."""
    transpose = layers.Conv2DTranspose(
        filters, 4, strides=rate, padding="same", use_bias=not use_batchnorm, name=f"{name}a_transpose"
    )
    x = bn_relu(transpose(x), use_batchnorm=use_batchnorm, name=f"{name}a")
    return conv_bn_relu(join(x, skip, name=name), filters, use_batchnorm=use_batchnorm, name=f"{name}b")


DECODER_BLOCKS: Final[Mapping[str, DecoderBlock]] = {"upsampling": upsampling_block, "transpose": transpose_block}
