"""The doors: whole networks on an encoder, under the reference library's names and with its arguments.

Two defaults differ from those of segmentation_models 1.0.1 in every door: the encoder, there a VGG16, and
``encoder_weights``, there ``"imagenet"``, which would download.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, Literal

import keras

from maskwright.errors import InputError, wrong_argument
from maskwright.networks.argument_checks import ImageShape, check_divisible_sides, check_input_shape
from maskwright.networks.attention import AttentionName
from maskwright.networks.backbones import BACKBONES, Encoder, encoder_of, freeze_encoder
from maskwright.networks.cell_pooling import Pooling
from maskwright.networks.deeplabv3plus import build_deeplabv3plus
from maskwright.networks.fpn import Aggregation, build_fpn
from maskwright.networks.head import Activation
from maskwright.networks.linknet import build_linknet
from maskwright.networks.pspnet import build_pspnet
from maskwright.networks.skips import Skip, skip_at
from maskwright.networks.unet import BlockType, build_unet
from maskwright.networks.unetplusplus import build_unetplusplus
from maskwright.weights.encoder import load_encoder_weights
from maskwright.weights.keras_file import WeightsFile, load_weights

Features = Literal["default"] | Sequence[Skip]

ENCODER_STRIDE: Final = 32  # every encoder of the table halves five times
DEFAULT_SKIPS: Final = 4  # the first of an encoder's own; a VGG has a fifth, at full size
SHARP: Final = 4  # stride of the skip that sharpens a DeepLabV3+, as in the article


def Unet(
    backbone_name: str | keras.Model | Encoder = "resnet34",
    input_shape: ImageShape = (None, None, 3),
    classes: int = 1,
    activation: Activation = "sigmoid",
    weights: WeightsFile | None = None,
    encoder_weights: WeightsFile | None = None,
    encoder_freeze: bool = False,
    encoder_features: Features = "default",
    decoder_block_type: BlockType = "upsampling",
    decoder_filters: Sequence[int] = (256, 128, 64, 32, 16),
    decoder_use_batchnorm: bool = True,
    *,
    attention: AttentionName | None = None,
    hypercolumn: bool = False,
    deep_supervision: bool = False,
    empty_head: bool = False,
    dropout: float = 0.0,
) -> keras.Model:
    """A U-Net (Ronneberger et al., MICCAI 2015), with the reference library's arguments and options of this one.

    Takes images (n, height, width, channels), sides multiples of 32 pixels, values as the encoder's
    `get_preprocessing` gives them; returns (n, height, width, classes) in float32.

    Args:
        backbone_name: One of `backbones()`, a Keras model that ends in a map, a keras-hub backbone, or an `Encoder`.
        input_shape: Height, width and channels; height and width may be None.
        classes: Maps in the output.
        activation: Keras activation of the output, by name or as a function; None is linear.
        weights: A weights file for the whole network.
        encoder_weights: A data set the encoder has published weights for, such as ``"imagenet"``, or a weights file
            for the encoder alone, written from `build_backbone`'s model.
        encoder_freeze: Train no layer of the encoder but its batch normalisations.
        encoder_features: Layers to join, names or indices from deep to shallow; ``"default"`` takes the encoder's own.
        decoder_block_type: ``"upsampling"`` or ``"transpose"``, see `build_unet`.
        decoder_filters: Filters of each decoder block; as many blocks, each doubling the size.
        decoder_use_batchnorm: Normalise in the decoder; without it the convolutions have a bias.
        attention: ``"scse"`` weighs the maps in each decoder block, see `build_unet`.
        hypercolumn: Join all decoder blocks' maps before the head.
        deep_supervision: Give a further mask for each decoder block, to train with.
        empty_head: Give a further output, (n, 1): the probability that an image holds anything.
        dropout: Share of the channels to drop before the head in training, in [0, 1); 0 for no such layer.

    Raises:
        UnknownChoice: the encoder, block type, activation or attention is unknown.
        WrongArgument: another argument cannot be used.
        SkipSizeMismatch: a layer of ``encoder_features`` has not the size of its block.
        MissingWeights: a weights argument names no file and no published weights.
        UnusableWeights: a weights file does not fit.

    >>> Unet("resnet18", classes=3, activation="softmax").output_shape
    (None, None, None, 3)
    """
    _check_filters(decoder_filters)
    encoder = _encoder(backbone_name, input_shape, weights=encoder_weights, freeze=encoder_freeze)
    with _renamed(skip_connection_layers="encoder_features", block_type="decoder_block_type"):
        network = build_unet(
            encoder.model,
            classes,
            _features(encoder, encoder_features, most=len(decoder_filters)),
            decoder_filters,
            upsample_rates=[2] * len(decoder_filters),
            n_upsample_blocks=len(decoder_filters),
            block_type=decoder_block_type,
            activation=activation,
            use_batchnorm=decoder_use_batchnorm,
            norm=encoder.norm,
            attention=attention,
            hypercolumn=hypercolumn,
            deep_supervision=deep_supervision,
            empty_head=empty_head,
            dropout=dropout,
        )
    return _filled(network, weights)


def FPN(
    backbone_name: str | keras.Model | Encoder = "resnet34",
    input_shape: ImageShape = (None, None, 3),
    classes: int = 21,
    activation: Activation = "softmax",
    weights: WeightsFile | None = None,
    encoder_weights: WeightsFile | None = None,
    encoder_freeze: bool = False,
    encoder_features: Features = "default",
    pyramid_block_filters: int = 256,
    pyramid_use_batchnorm: bool = True,
    pyramid_aggregation: Aggregation = "concat",
    pyramid_dropout: float | None = None,
) -> keras.Model:
    """A feature pyramid network (Kirillov et al., CVPR 2019), with the arguments of the reference library's ``FPN``.

    Takes images (n, height, width, channels), sides multiples of 32 pixels, values as the encoder's
    `get_preprocessing` gives them; returns (n, height, width, classes) in float32.

    Args:
        backbone_name: One of `backbones()`, a Keras model that ends in a map, a keras-hub backbone, or an `Encoder`.
        input_shape: Height, width and channels; height and width may be None.
        classes: Maps in the output.
        activation: Keras activation of the output, by name or as a function; None is linear.
        weights: A weights file for the whole network.
        encoder_weights: A data set the encoder has published weights for, such as ``"imagenet"``, or a weights file
            for the encoder alone, written from `build_backbone`'s model.
        encoder_freeze: Train no layer of the encoder but its batch normalisations.
        encoder_features: Four layers, names or indices, at 1/16, 1/8, 1/4 and 1/2 of the images' size, or the first
            three; ``"default"`` takes the encoder's own.
        pyramid_block_filters: Channels of the pyramid; the convolutions after it have half as many.
        pyramid_use_batchnorm: Normalise after the pyramid; without it the convolutions there have a bias.
        pyramid_aggregation: ``"concat"`` puts the pyramid's levels side by side, ``"sum"`` adds them.
        pyramid_dropout: Share of the merged channels to drop in training, in [0, 1); None for no such layer.

    Raises:
        UnknownChoice: the encoder, aggregation or activation is unknown.
        WrongArgument: another argument cannot be used.
        SkipSizeMismatch: a layer of ``encoder_features`` has not the size of its level.
        MissingWeights: a weights argument names no file and no published weights.
        UnusableWeights: a weights file does not fit.

    >>> FPN("resnet18", input_shape=(64, 96, 3), classes=3).output_shape
    (None, 64, 96, 3)
    """
    encoder = _encoder(backbone_name, input_shape, weights=encoder_weights, freeze=encoder_freeze)
    with _renamed(skip_connection_layers="encoder_features", dropout="pyramid_dropout"):
        network = build_fpn(
            encoder.model,
            classes,
            _features(encoder, encoder_features),
            pyramid_block_filters=pyramid_block_filters,
            pyramid_aggregation=pyramid_aggregation,
            dropout=pyramid_dropout,
            activation=activation,
            use_batchnorm=pyramid_use_batchnorm,
            norm=encoder.norm,
        )
    return _filled(network, weights)


def Linknet(
    backbone_name: str | keras.Model | Encoder = "resnet34",
    input_shape: ImageShape = (None, None, 3),
    classes: int = 1,
    activation: Activation = "sigmoid",
    weights: WeightsFile | None = None,
    encoder_weights: WeightsFile | None = None,
    encoder_freeze: bool = False,
    encoder_features: Features = "default",
    decoder_block_type: BlockType = "upsampling",
    decoder_filters: Sequence[int | None] = (None, None, None, None, 16),
    decoder_use_batchnorm: bool = True,
) -> keras.Model:
    """A LinkNet (Chaurasia and Culurciello, VCIP 2017), with the arguments of the reference library's ``Linknet``.

    Takes images (n, height, width, channels), sides multiples of 32 pixels, values as the encoder's
    `get_preprocessing` gives them; returns (n, height, width, classes) in float32.

    Args:
        backbone_name: One of `backbones()`, a Keras model that ends in a map, a keras-hub backbone, or an `Encoder`.
        input_shape: Height, width and channels; height and width may be None.
        classes: Maps in the output.
        activation: Keras activation of the output, by name or as a function; None is linear.
        weights: A weights file for the whole network.
        encoder_weights: A data set the encoder has published weights for, such as ``"imagenet"``, or a weights file
            for the encoder alone, written from `build_backbone`'s model.
        encoder_freeze: Train no layer of the encoder but its batch normalisations.
        encoder_features: Layers to add, names or indices from deep to shallow; ``"default"`` takes the encoder's own.
        decoder_block_type: ``"upsampling"`` or ``"transpose"``, see `build_linknet`.
        decoder_filters: Filters of each decoder block; as many blocks, each doubling the size. A block that adds a
            layer of the encoder has that layer's channels, and None may stand in its place.
        decoder_use_batchnorm: Normalise in the decoder; without it the convolutions have a bias.

    Raises:
        UnknownChoice: the encoder, block type or activation is unknown.
        WrongArgument: another argument cannot be used.
        SkipSizeMismatch: a layer of ``encoder_features`` has not the size of its block.
        MissingWeights: a weights argument names no file and no published weights.
        UnusableWeights: a weights file does not fit.

    >>> Linknet("resnet18", input_shape=(64, 96, 3)).output_shape
    (None, 64, 96, 1)
    """
    _check_filters(decoder_filters)
    encoder = _encoder(backbone_name, input_shape, weights=encoder_weights, freeze=encoder_freeze)
    with _renamed(skip_connection_layers="encoder_features", block_type="decoder_block_type"):
        network = build_linknet(
            encoder.model,
            classes,
            _features(encoder, encoder_features, most=len(decoder_filters)),
            decoder_filters=decoder_filters,
            n_upsample_blocks=len(decoder_filters),
            block_type=decoder_block_type,
            activation=activation,
            use_batchnorm=decoder_use_batchnorm,
            norm=encoder.norm,
        )
    return _filled(network, weights)


def PSPNet(
    backbone_name: str | keras.Model | Encoder = "resnet34",
    input_shape: ImageShape = (384, 384, 3),
    classes: int = 21,
    activation: Activation = "softmax",
    weights: WeightsFile | None = None,
    encoder_weights: WeightsFile | None = None,
    encoder_freeze: bool = False,
    downsample_factor: Literal[4, 8, 16] = 8,
    psp_conv_filters: int = 512,
    psp_pooling_type: Pooling = "avg",
    psp_use_batchnorm: bool = True,
    psp_dropout: float | None = None,
) -> keras.Model:
    """A pyramid scene parsing network (Zhao et al., CVPR 2017), with the arguments of the reference ``PSPNet``.

    Takes images (n, height, width, channels), sides multiples of ``downsample_factor``, values as the encoder's
    `get_preprocessing` gives them; returns (n, height, width, classes) in float32. The reference takes known multiples
    of ``6 * downsample_factor`` only, where both give the same; others work here.

    Args:
        backbone_name: One of `backbones()`, a Keras model that ends in a map, a keras-hub backbone, or an `Encoder`.
        input_shape: Height, width and channels; height and width may be None.
        classes: Maps in the output.
        activation: Keras activation of the output, by name or as a function; None is linear.
        weights: A weights file for the whole network.
        encoder_weights: A data set the encoder has published weights for, such as ``"imagenet"``, or a weights file
            for the encoder alone, written from `build_backbone`'s model.
        encoder_freeze: Train no layer of the encoder but its batch normalisations.
        downsample_factor: The pyramid stands on the encoder's layer at 1/4, 1/8 or 1/16 of the images' size.
        psp_conv_filters: Filters of the convolution of each grid and of the one that merges them.
        psp_pooling_type: ``"avg"`` takes the mean of a cell, ``"max"`` its largest value.
        psp_use_batchnorm: Normalise after the pyramid; without it the convolutions there have a bias.
        psp_dropout: Share of the merged channels to drop in training, in [0, 1); None for no such layer.

    Raises:
        UnknownChoice: the encoder, pooling or activation is unknown.
        WrongArgument: another argument cannot be used.
        MissingWeights: a weights argument names no file and no published weights.
        UnusableWeights: a weights file does not fit.

    >>> PSPNet("resnet18", input_shape=(None, None, 3), classes=3).output_shape
    (None, None, None, 3)
    """
    if downsample_factor not in (4, 8, 16):
        raise wrong_argument("downsample_factor", downsample_factor, expected="4, 8 or 16")
    encoder = _encoder(
        backbone_name, input_shape, weights=encoder_weights, freeze=encoder_freeze, multiple=downsample_factor
    )
    names = {"pooling_type": "psp_pooling_type", "conv_filters": "psp_conv_filters", "dropout": "psp_dropout"}
    with _renamed(**names):
        network = build_pspnet(
            encoder.model,
            classes,
            skip_at(encoder.model, encoder.skips, stride=downsample_factor, argument="backbone_name"),
            pooling_type=psp_pooling_type,
            conv_filters=psp_conv_filters,
            final_upsampling_factor=downsample_factor,
            dropout=psp_dropout,
            activation=activation,
            use_batchnorm=psp_use_batchnorm,
            norm=encoder.norm,
        )
    return _filled(network, weights)


def UnetPlusPlus(
    backbone_name: str | keras.Model | Encoder = "resnet34",
    input_shape: ImageShape = (None, None, 3),
    classes: int = 1,
    activation: Activation = "sigmoid",
    weights: WeightsFile | None = None,
    encoder_weights: WeightsFile | None = None,
    encoder_freeze: bool = False,
    encoder_features: Features = "default",
    decoder_filters: Sequence[int] = (256, 128, 64, 32, 16),
    decoder_use_batchnorm: bool = True,
    *,
    attention: AttentionName | None = None,
) -> keras.Model:
    """A U-Net++ (Zhou et al., DLMIA 2018): a U-Net whose skip connections are decoders themselves.

    Takes images (n, height, width, channels), sides multiples of 32 pixels, values as the encoder's
    `get_preprocessing` gives them; returns (n, height, width, classes) in float32. The graph is that of
    segmentation_models_pytorch, and on an encoder that ends in ``_v1`` its weights fit.

    Args:
        backbone_name: One of `backbones()`, a Keras model that ends in a map, a keras-hub backbone, or an `Encoder`.
        input_shape: Height, width and channels; height and width may be None.
        classes: Maps in the output.
        activation: Keras activation of the output, by name or as a function; None is linear.
        weights: A weights file for the whole network.
        encoder_weights: A data set the encoder has published weights for, such as ``"imagenet"``, or a weights file
            for the encoder alone, written from `build_backbone`'s model.
        encoder_freeze: Train no layer of the encoder but its batch normalisations.
        encoder_features: Layers to join, names or indices from deep to shallow; ``"default"`` takes the encoder's own.
        decoder_filters: Filters of the decoder's blocks; as many blocks, each doubling the size.
        decoder_use_batchnorm: Normalise in the decoder; without it the convolutions have a bias.
        attention: ``"scse"`` weighs the maps in each block, see `build_unetplusplus`.

    Raises:
        UnknownChoice: the encoder, activation or attention is unknown.
        WrongArgument: another argument cannot be used.
        SkipSizeMismatch: a layer of ``encoder_features`` has not the size of its block.
        MissingWeights: a weights argument names no file and no published weights.
        UnusableWeights: a weights file does not fit.

    >>> UnetPlusPlus("resnet18", input_shape=(64, 96, 3)).output_shape
    (None, 64, 96, 1)
    """
    _check_filters(decoder_filters)
    encoder = _encoder(backbone_name, input_shape, weights=encoder_weights, freeze=encoder_freeze)
    with _renamed(skip_connection_layers="encoder_features"):
        network = build_unetplusplus(
            encoder.model,
            classes,
            _features(encoder, encoder_features, most=len(decoder_filters)),
            decoder_filters=decoder_filters,
            attention=attention,
            activation=activation,
            use_batchnorm=decoder_use_batchnorm,
            norm=encoder.norm,
        )
    return _filled(network, weights)


def DeepLabV3Plus(
    backbone_name: str | keras.Model | Encoder = "resnet34",
    input_shape: ImageShape = (None, None, 3),
    classes: int = 1,
    activation: Activation = "sigmoid",
    weights: WeightsFile | None = None,
    encoder_weights: WeightsFile | None = None,
    encoder_freeze: bool = False,
    encoder_output_stride: Literal[16, 32] = 16,
    decoder_filters: int = 256,
    decoder_atrous_rates: Sequence[int] = (12, 24, 36),
    decoder_dropout: float = 0.5,
    decoder_use_batchnorm: bool = True,
) -> keras.Model:
    """A DeepLabV3+ (Chen et al., ECCV 2018): atrous convolutions on the encoder's end, sharpened by one skip at 1/4.

    Takes images (n, height, width, channels), sides multiples of 32 pixels (of 16 on an encoder that ends in ``_v1``),
    values as the encoder's `get_preprocessing` gives them; returns (n, height, width, classes) in float32. The graph is
    that of segmentation_models_pytorch, and on an encoder that ends in ``_v1`` its weights fit.

    Args:
        backbone_name: One of `backbones()`, a Keras model that ends in a map, a keras-hub backbone, or an `Encoder`.
        input_shape: Height, width and channels; height and width may be None.
        classes: Maps in the output.
        activation: Keras activation of the output, by name or as a function; None is linear.
        weights: A weights file for the whole network.
        encoder_weights: A data set the encoder has published weights for, such as ``"imagenet"``, or a weights file
            for the encoder alone, written from `build_backbone`'s model.
        encoder_freeze: Train no layer of the encoder but its batch normalisations.
        encoder_output_stride: 16 dilates the last stage of an encoder that ends in ``_v1``, in place of halving; other
            encoders end at 1/32 as they are.
        decoder_filters: Filters of the decoder's convolutions.
        decoder_atrous_rates: Distances of the pixels that the atrous convolutions see, in pixels of the encoder's end.
        decoder_dropout: Share of the values dropped behind the atrous convolutions in training, in [0, 1).
        decoder_use_batchnorm: Normalise in the decoder; without it the convolutions have a bias.

    Raises:
        UnknownChoice: the encoder or activation is unknown.
        WrongArgument: another argument cannot be used.
        MissingWeights: a weights argument names no file and no published weights.
        UnusableWeights: a weights file does not fit.

    >>> DeepLabV3Plus("resnet18", input_shape=(64, 96, 3)).output_shape
    (None, 64, 96, 1)
    """
    if encoder_output_stride not in (16, 32):
        raise wrong_argument("encoder_output_stride", encoder_output_stride, expected="16 or 32")
    row = BACKBONES.get(backbone_name) if isinstance(backbone_name, str) else None
    dilate = row is not None and "output_stride" in row.options
    encoder = _encoder(
        backbone_name,
        input_shape,
        weights=encoder_weights,
        freeze=encoder_freeze,
        multiple=encoder_output_stride if dilate else ENCODER_STRIDE,
        **({"output_stride": encoder_output_stride} if dilate else {}),
    )
    names = {"atrous_rates": "decoder_atrous_rates", "aspp_dropout": "decoder_dropout"}
    with _renamed(decoder_channels="decoder_filters", **names):
        network = build_deeplabv3plus(
            encoder.model,
            classes,
            [skip_at(encoder.model, encoder.skips, stride=SHARP, argument="backbone_name")],
            decoder_channels=decoder_filters,
            atrous_rates=decoder_atrous_rates,
            aspp_dropout=decoder_dropout,
            upsampling=SHARP,
            activation=activation,
            use_batchnorm=decoder_use_batchnorm,
            norm=encoder.norm,
        )
    return _filled(network, weights)


ARCHITECTURES: Final[Mapping[str, Callable[..., keras.Model]]] = {
    "unet": Unet,
    "fpn": FPN,
    "linknet": Linknet,
    "pspnet": PSPNet,
    "unetplusplus": UnetPlusPlus,
    "deeplabv3plus": DeepLabV3Plus,
}


def _encoder(
    backbone: str | keras.Model | Encoder,
    input_shape: ImageShape,
    *,
    weights: WeightsFile | None,
    freeze: bool,
    multiple: int = ENCODER_STRIDE,
    **options: object,
) -> Encoder:
    """The encoder with its weights; a named one takes only sides that are multiples of ``multiple`` pixels."""
    name = backbone if isinstance(backbone, str) else None
    if name is not None:
        check_input_shape(input_shape, argument="input_shape")
        check_divisible_sides(input_shape, by=multiple)
    encoder = encoder_of(backbone, input_shape=input_shape, argument="backbone_name", **options)
    if weights is not None:
        load_encoder_weights(encoder.model, name, weights, argument="encoder_weights")
    if freeze:
        freeze_encoder(encoder.model)
    return encoder


def _features(encoder: Encoder, features: Features, *, most: int = DEFAULT_SKIPS) -> Sequence[Skip]:
    """The layers to join; ``"default"`` are the first of the encoder's own, no more than ``most`` blocks can take."""
    by_default = isinstance(features, str) and features == "default"
    return encoder.skips[: min(most, DEFAULT_SKIPS)] if by_default else features


def _check_filters(filters: object) -> None:
    """Require a list, whose length a door takes for the number of blocks; the builder checks what is in it."""
    if not isinstance(filters, Sequence) or not filters:
        expected = "a list with an integer of at least 1 for each decoder block"
        raise wrong_argument("decoder_filters", filters, expected=expected)


def _filled(network: keras.Model, weights: WeightsFile | None) -> keras.Model:
    if weights is not None:
        load_weights(network, weights, argument="weights")
    return network


@contextmanager
def _renamed(**names: str) -> Iterator[None]:
    """Let the mistakes in a builder's arguments be told by the names that the door has for them."""
    try:
        yield
    except InputError as error:
        argument = error.fields.get("argument")
        if argument not in names:
            raise
        raise type(error)(**{**error.fields, "argument": names[argument]}) from error
