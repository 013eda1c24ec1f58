"""DeepLabV3+: atrous convolutions at several rates see the encoder's end at several scales, and one skip sharpens it.

Sources: Chen et al., "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation", ECCV 2018;
arguments and graph of segmentation_models_pytorch 0.6.0.

With a `torch_batch_norm` the weights of that library's ``DeepLabV3Plus`` fit. Its tensors are found here by one rule:
a convolution followed by its normalisation, ``{path}.0`` and ``{path}.1``, is ``{path}_conv`` and ``{path}_bn`` with
``_`` for ``.`` in the path. Where the convolution is separable, ``{path}.0.0`` is ``{path}_depthwise`` and
``{path}.0.1`` is ``{path}_conv``. Besides,

- ``decoder.aspp.0.convs.4.1`` and ``.2``, behind a pooling: ``decoder_aspp_0_convs_4_conv`` and ``_bn``;
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
from maskwright.networks.blocks import Norm, conv_bn_relu, join, torch_batch_norm
from maskwright.networks.encoder_ends import ends
from maskwright.networks.head import Activation, mask_head
from maskwright.networks.skips import Skip, skip_tensors, strides_of

SKIP_FILTERS: Final = 48  # the article's


def depthwise(x: keras.KerasTensor, *, rate: int = 1, name: str) -> keras.KerasTensor:
    """A 3x3 convolution of every channel by itself, of pixels ``rate`` apart."""
    bound = sqrt(6 / 9)  # he_uniform of the nine pixels that make a pixel; Keras' own would count all channels
    return layers.DepthwiseConv2D(
        3,
        padding="same",
        dilation_rate=rate,
        use_bias=False,
        depthwise_initializer=keras.initializers.RandomUniform(-bound, bound),
        name=f"{name}_depthwise",
    )(x)


def separable(x: keras.KerasTensor, filters: int, *, rate: int = 1, norm: Norm | None, name: str) -> keras.KerasTensor:
    """A depthwise convolution, then one across channels, normalised and rectified."""
    x = depthwise(x, rate=rate, name=name)
    return conv_bn_relu(x, filters, size=1, norm=norm, name=name)


def atrous_pyramid(
    x: keras.KerasTensor, filters: int, *, rates: Sequence[int], dropout: float, norm: Norm | None, name: str
) -> keras.KerasTensor:
    """``x`` (n, h, w, c) seen pixel by pixel, at each of ``rates`` and as a whole, merged to (n, h, w, filters)."""
    views = [conv_bn_relu(x, filters, size=1, norm=norm, name=f"{name}_convs_0")]
    for place, rate in enumerate(rates, start=1):
        views.append(separable(x, filters, rate=rate, norm=norm, name=f"{name}_convs_{place}"))
    whole = f"{name}_convs_{len(views)}"
    mean = layers.GlobalAveragePooling2D(keepdims=True, name=f"{whole}_pool")(x)
    mean = conv_bn_relu(mean, filters, size=1, norm=norm, name=whole)
    views.append(layers.Add(name=f"{whole}_spread")([mean, ops.zeros_like(views[0])]))  # (n, h, w, filters)
    x = conv_bn_relu(
        layers.Concatenate(name=f"{name}_concat")(views), filters, size=1, norm=norm, name=f"{name}_project"
    )
    return layers.Dropout(dropout, name=f"{name}_dropout")(x) if dropout else x


def enlargement(backbone: keras.Model, *, to: keras.KerasTensor) -> int:
    """How many times higher and wider the map ``to`` of ``backbone`` is than its output, sizes left open or not.

    Raises:
        WrongArgument: not a whole number of times.
    """
    deep, sharp = strides_of(backbone, [backbone.outputs[0], to])
    if not deep or not sharp or deep % sharp:
        expected = "a map a whole number of times as high and wide as the backbone's output"
        hint = "Give an image size that the backbone's stride divides."
        raise wrong_argument("skip_connection_layers", to.shape, expected=expected, hint=hint)
    return deep // sharp


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
    """A DeepLabV3+ on any functional or built sequential Keras model whose output is a feature map.

    Takes the backbone's images, (n, height, width, channels); returns (n, height, width, classes) in float32, when
    the backbone's stride divides height and width. The backbone is best dilated, that is, its output has 1/16 of the
    images' size (``output_stride=16`` of a `build_resnet_v1`); one that halves five times is enlarged twice as much.

    Args:
        backbone: The encoder.
        classes: Maps in the output.
        skip_connection_layers: One layer of the backbone, in a list, by name or by index in ``backbone.layers``; in the
            article one of 1/4 of the images' size.
        decoder_channels: Filters of the decoder's convolutions.
        atrous_rates: Distances of the pixels that the atrous convolutions see, in pixels of the backbone's output.
        aspp_dropout: Share of the values dropped behind the atrous convolutions while training, in [0, 1).
        upsampling: How many times the mask is enlarged at the end: the stride of the skip.
        activation: Keras activation of the output, by name or as a function; None is linear.
        use_batchnorm: Normalise in the decoder; without it the convolutions across channels have a bias.
        norm: The normalisation, a factory called as ``norm(name=...)``.

    Raises:
        UnknownChoice: ``activation`` is unknown.
        WrongArgument: another argument cannot be used.

    >>> from maskwright.networks.resnet_v1 import ResNet18V1
    >>> encoder = ResNet18V1(input_shape=(64, 96, 3), output_stride=16)
    >>> build_deeplabv3plus(encoder, 2, ["layer1"], activation="softmax").output_shape
    (None, 64, 96, 2)
    """
    images, x = ends(backbone)
    check_at_least_one("decoder_channels", decoder_channels)
    if not are_positive_integers(atrous_rates) or not atrous_rates:
        raise wrong_argument("atrous_rates", atrous_rates, expected="a list of integers of at least 1")
    check_dropout("aspp_dropout", aspp_dropout)
    skips = skip_tensors(backbone, skip_connection_layers, argument="skip_connection_layers", most=1)
    if not skips:
        raise wrong_argument("skip_connection_layers", list(skip_connection_layers), expected="one layer")
    (skip,) = skips
    enlarge = AlignedUpsampling2D(upsampling, dtype="float32", name="final_upsampling")
    norm_or_none = norm if use_batchnorm else None

    x = atrous_pyramid(
        x, decoder_channels, rates=atrous_rates, dropout=aspp_dropout, norm=norm_or_none, name="decoder_aspp_0"
    )
    x = separable(x, decoder_channels, norm=norm_or_none, name="decoder_aspp_1")
    x = AlignedUpsampling2D(enlargement(backbone, to=skip), name="decoder_up")(x)  # (n, height / 4, width / 4, c)
    skip = conv_bn_relu(skip, SKIP_FILTERS, size=1, norm=norm_or_none, name="decoder_block1")
    x = join(x, skip, name="decoder_block2")
    x = separable(x, decoder_channels, norm=norm_or_none, name="decoder_block2")
    mask = mask_head(x, classes, activation=activation, size=1, upsampling=enlarge)
    return keras.Model(images, mask, name="deeplabv3plus")
