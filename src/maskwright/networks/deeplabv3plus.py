"""DeepLabV3+, with atrous spatial pyramid pooling of the encoder's output and one skip connection.

Sources: Chen et al., "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation", ECCV 2018;
arguments and graph of segmentation_models_pytorch 0.6.0.

With `torch_batch_norm`, the weights of that library's ``DeepLabV3Plus`` can be loaded. The tensors are mapped
by one rule: a convolution ``{path}.0`` and its normalisation ``{path}.1`` become ``{path}_conv`` and ``{path}_bn``,
with each ``.`` in the path replaced by ``_``. If the convolution is separable, ``{path}.0.0`` becomes
``{path}_depthwise`` and ``{path}.0.1`` becomes ``{path}_conv``. In addition:

- ``decoder.aspp.0.convs.4.1`` and ``.2``, after pooling: ``decoder_aspp_0_convs_4_conv`` and ``_bn``;
- ``decoder.aspp.1.0``, ``decoder.aspp.1.1`` and ``decoder.aspp.2``: ``decoder_aspp_1_depthwise``, ``_conv``, ``_bn``;
- ``segmentation_head.0``: ``final_conv``.
"""

from collections.abc import Sequence
from math import sqrt
from typing import Final

import keras
from keras import layers, ops

from maskwright.errors import wrong_argument
from maskwright.networks.aligned_upsampling import AlignedUpsampling2D
from maskwright.networks.argument_checks import are_positive_integers, check_at_least_one, check_dropout
from maskwright.networks.blocks import Norm, concatenate_skip, conv_bn_relu, torch_batch_norm
from maskwright.networks.encoder_tensors import input_and_features
from maskwright.networks.head import Activation, mask_head
from maskwright.networks.skips import Skip, skip_tensors, strides_of

SKIP_FILTERS: Final = 48  # filters of the skip connection's convolution, as in the paper


def depthwise_conv(x: keras.KerasTensor, *, rate: int = 1, name: str) -> keras.KerasTensor:
    """Apply a 3x3 depthwise convolution with dilation ``rate``."""
    bound = sqrt(6 / 9)  # he_uniform with a fan-in of nine pixels; the fan-in in Keras includes all channels
    return layers.DepthwiseConv2D(
        3,
        padding="same",
        dilation_rate=rate,
        use_bias=False,
        depthwise_initializer=keras.initializers.RandomUniform(-bound, bound),
        name=f"{name}_depthwise",
    )(x)


def separable_conv(
    x: keras.KerasTensor, filters: int, *, rate: int = 1, norm: Norm | None, name: str
) -> keras.KerasTensor:
    """Apply a depthwise convolution, a 1x1 convolution, normalisation and ReLU."""
    x = depthwise_conv(x, rate=rate, name=name)
    return conv_bn_relu(x, filters, size=1, norm=norm, name=name)


def atrous_pyramid(
    x: keras.KerasTensor, filters: int, *, rates: Sequence[int], dropout: float, norm: Norm | None, name: str
) -> keras.KerasTensor:
    """Merge a 1x1 convolution, atrous convolutions and the global mean of ``x`` into (n, h, w, filters)."""
    branches = [conv_bn_relu(x, filters, size=1, norm=norm, name=f"{name}_convs_0")]
    for index, rate in enumerate(rates, start=1):
        branches.append(separable_conv(x, filters, rate=rate, norm=norm, name=f"{name}_convs_{index}"))
    global_name = f"{name}_convs_{len(branches)}"
    mean = layers.GlobalAveragePooling2D(keepdims=True, name=f"{global_name}_pool")(x)
    mean = conv_bn_relu(mean, filters, size=1, norm=norm, name=global_name)
    branches.append(layers.Add(name=f"{global_name}_spread")([mean, ops.zeros_like(branches[0])]))  # (n, h, w, filters)
    x = conv_bn_relu(
        layers.Concatenate(name=f"{name}_concat")(branches), filters, size=1, norm=norm, name=f"{name}_project"
    )
    return layers.Dropout(dropout, name=f"{name}_dropout")(x) if dropout else x


def upsampling_factor(backbone: keras.Model, *, target: keras.KerasTensor) -> int:
    """Return the ratio between the sides of the feature map ``target`` and those of the output of ``backbone``.

    Raises:
        WrongArgument: The ratio is not an integer.
    """
    output_stride, target_stride = strides_of(backbone, [backbone.outputs[0], target])
    if not output_stride or not target_stride or output_stride % target_stride:
        expected = "a feature map with sides that are multiples of those of the backbone's output"
        hint = "Use an image size that is divisible by the backbone's stride."
        raise wrong_argument("skip_connection_layers", target.shape, expected=expected, hint=hint)
    return output_stride // target_stride


def build_deeplabv3plus(
    backbone: keras.Model,
    classes: int,
    skip_connection_layers: Sequence[Skip],
    *,
    decoder_channels: int = 256,
    atrous_rates: Sequence[int] = (12, 24, 36),
    aspp_dropout: float = 0.5,
    upsampling: int = 4,
    activation: Activation = "sigmoid",
    use_batchnorm: bool = True,
    norm: Norm = torch_batch_norm,
) -> keras.Model:
    """Build a DeepLabV3+ on any functional or built sequential Keras model whose output is a feature map.

    The input consists of the images of the backbone, (n, height, width, channels). The output consists of float32 masks
    (n, height, width, classes) if height and width are multiples of the backbone's stride. A dilated backbone with an
    output stride of 16 is recommended (``output_stride=16`` of `build_resnet_v1`); the output of a backbone with a
    stride of 32 is upsampled by twice the factor.

    Args:
        backbone: Encoder, as a Keras model.
        classes: Number of output channels.
        skip_connection_layers: List of one layer of the backbone, by name or by index in ``backbone.layers``; the paper
            uses one at 1/4 of the image size.
        decoder_channels: Number of filters of the decoder's convolutions.
        atrous_rates: Dilation rates of the atrous convolutions, in pixels of the backbone's output.
        aspp_dropout: Dropout rate in [0, 1): fraction of values that are dropped after the atrous convolutions in
            training.
        upsampling: Upsampling factor of the mask, equal to the stride of the skip connection.
        activation: Keras activation of the output, as a name or a function; None means linear.
        use_batchnorm: Whether to use normalisation in the decoder; without it, the 1x1 convolutions have a bias.
        norm: Factory of normalisation layers, called as ``norm(name=...)``.

    Raises:
        UnknownChoice: ``activation`` is unknown.
        WrongArgument: Another argument has an invalid value.

    >>> from maskwright.networks.resnet_v1 import ResNet18V1
    >>> encoder = ResNet18V1(input_shape=(64, 96, 3), output_stride=16)
    >>> build_deeplabv3plus(encoder, 2, ["layer1"], activation="softmax").output_shape
    (None, 64, 96, 2)
    """
    images, x = input_and_features(backbone)
    check_at_least_one("decoder_channels", decoder_channels)
    if not are_positive_integers(atrous_rates) or not atrous_rates:
        raise wrong_argument("atrous_rates", atrous_rates, expected="a list of integers of at least 1")
    check_dropout("aspp_dropout", aspp_dropout)
    skips = skip_tensors(backbone, skip_connection_layers, argument="skip_connection_layers", max_count=1)
    if not skips:
        raise wrong_argument("skip_connection_layers", list(skip_connection_layers), expected="one layer")
    (skip,) = skips
    final_upsampling = AlignedUpsampling2D(upsampling, dtype="float32", name="final_upsampling")
    norm_or_none = norm if use_batchnorm else None

    x = atrous_pyramid(
        x, decoder_channels, rates=atrous_rates, dropout=aspp_dropout, norm=norm_or_none, name="decoder_aspp_0"
    )
    x = separable_conv(x, decoder_channels, norm=norm_or_none, name="decoder_aspp_1")
    x = AlignedUpsampling2D(upsampling_factor(backbone, target=skip), name="decoder_up")(
        x
    )  # (n, height / 4, width / 4, c)
    skip = conv_bn_relu(skip, SKIP_FILTERS, size=1, norm=norm_or_none, name="decoder_block1")
    x = concatenate_skip(x, skip, name="decoder_block2")
    x = separable_conv(x, decoder_channels, norm=norm_or_none, name="decoder_block2")
    mask = mask_head(x, classes, activation=activation, size=1, upsampling=final_upsampling)
    return keras.Model(images, mask, name="deeplabv3plus")
