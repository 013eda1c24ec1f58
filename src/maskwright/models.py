"""Complete networks with the names and arguments of segmentation_models.

In every function, two defaults differ from those of segmentation_models 1.0.1, in which the default encoder is a VGG16
and ``encoder_weights`` is ``"imagenet"``, so that a file is downloaded.
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
from maskwright.networks.docstrings import MODEL_TEXTS, fill_docstring
from maskwright.networks.fpn import Aggregation, build_fpn
from maskwright.networks.head import Activation
from maskwright.networks.linknet import build_linknet
from maskwright.networks.pspnet import build_pspnet
from maskwright.networks.skips import Skip, skip_with_stride
from maskwright.networks.unet import BlockType, build_unet
from maskwright.networks.unetplusplus import build_unetplusplus
from maskwright.weights.encoder import load_encoder_weights
from maskwright.weights.keras_file import WeightsFile, load_weights

Features = Literal["default"] | Sequence[Skip]

ENCODER_STRIDE: Final = 32  # stride of every named encoder
DEFAULT_SKIPS: Final = 4  # number of default skip connections; a VGG has a fifth one, at full resolution
DEEPLAB_SKIP_STRIDE: Final = 4  # stride of the skip connection, as in the paper


@fill_docstring(MODEL_TEXTS)
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
    classification_head: bool = False,
    dropout: float = 0.0,
) -> keras.Model:
    """Build a U-Net (Ronneberger et al., 2015) with the arguments of segmentation_models and further options.

    {images_of_stride_32}

    Args:
        {backbone_name}
        {input_shape}
        {classes}
        {activation}
        {weights}
        {encoder_weights}
        {encoder_freeze}
        {encoder_features}
        decoder_block_type: Type of the decoder blocks: ``"upsampling"`` (nearest neighbour, then two convolutions) or
            ``"transpose"`` (a 4x4 transposed convolution, then one convolution).
        {decoder_filters}
        {decoder_use_batchnorm}
        {attention}
        hypercolumn: Whether the head receives the bilinearly upsampled feature maps of all decoder blocks instead of
            only that of the last block.
        deep_supervision: Whether to add a training output for each decoder block except the last.
        classification_head: Whether to add a training output ``"presence"`` of shape (n, 1): the probability that the
            image contains any foreground.
        dropout: Spatial dropout rate in [0, 1): fraction of channels that are dropped before the head in training.

    Raises:
        UnknownChoice: The encoder, block type, activation or attention is unknown.
        {WrongArgument}
        {SkipSizeMismatch}
        {MissingWeights}
        {UnusableWeights}

    >>> Unet("resnet18", classes=3, activation="softmax").output_shape
    (None, None, None, 3)
    """
    _check_filters(decoder_filters)
    encoder = _encoder(backbone_name, input_shape, weights=encoder_weights, freeze=encoder_freeze)
    with _with_argument_names(skip_connection_layers="encoder_features", block_type="decoder_block_type"):
        network = build_unet(
            encoder.model,
            classes,
            _features(encoder, encoder_features, max_count=len(decoder_filters)),
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
            classification_head=classification_head,
            dropout=dropout,
        )
    return _with_weights(network, weights)


@fill_docstring(MODEL_TEXTS)
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
    """Build a feature pyramid network (Kirillov et al., 2019) with the arguments of segmentation_models.

    {images_of_stride_32}

    Args:
        {backbone_name}
        {input_shape}
        {classes}
        {activation}
        {weights}
        {encoder_weights}
        {encoder_freeze}
        encoder_features: Encoder layers at 1/16, 1/8, 1/4 and 1/2 of the image size, or the first three of them, as
            names or indices; ``"default"`` selects the standard layers of the encoder.
        pyramid_block_filters: Number of channels of each pyramid level; the convolutions after the pyramid have half as
            many filters.
        pyramid_use_batchnorm: Whether the convolutions after the pyramid are normalised; without normalisation, they
            have a bias.
        pyramid_aggregation: How to merge the levels of the pyramid: ``"concat"`` or ``"sum"``.
        pyramid_dropout: Spatial dropout rate in [0, 1): fraction of the merged channels that are dropped in training;
            None disables dropout.

    Raises:
        UnknownChoice: The encoder, aggregation or activation is unknown.
        {WrongArgument}
        {SkipSizeMismatch}
        {MissingWeights}
        {UnusableWeights}

    >>> FPN("resnet18", input_shape=(64, 96, 3), classes=3).output_shape
    (None, 64, 96, 3)
    """
    encoder = _encoder(backbone_name, input_shape, weights=encoder_weights, freeze=encoder_freeze)
    with _with_argument_names(skip_connection_layers="encoder_features", dropout="pyramid_dropout"):
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
    return _with_weights(network, weights)


@fill_docstring(MODEL_TEXTS)
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
    """Build a LinkNet (Chaurasia and Culurciello, 2017) with the arguments of segmentation_models.

    {images_of_stride_32}

    Args:
        {backbone_name}
        {input_shape}
        {classes}
        {activation}
        {weights}
        {encoder_weights}
        {encoder_freeze}
        {encoder_features}
        decoder_block_type: Type of the decoder blocks: ``"upsampling"`` (nearest neighbour, then a convolution) or
            ``"transpose"`` (a 4x4 transposed convolution).
        decoder_filters: Numbers of filters of the decoder blocks, one per block. For a block with a skip connection,
            the entry is ignored and may be None, because the block has as many channels as the skip connection.
        {decoder_use_batchnorm}

    Raises:
        UnknownChoice: The encoder, block type or activation is unknown.
        {WrongArgument}
        {SkipSizeMismatch}
        {MissingWeights}
        {UnusableWeights}

    >>> Linknet("resnet18", input_shape=(64, 96, 3)).output_shape
    (None, 64, 96, 1)
    """
    _check_filters(decoder_filters)
    encoder = _encoder(backbone_name, input_shape, weights=encoder_weights, freeze=encoder_freeze)
    with _with_argument_names(skip_connection_layers="encoder_features", block_type="decoder_block_type"):
        network = build_linknet(
            encoder.model,
            classes,
            _features(encoder, encoder_features, max_count=len(decoder_filters)),
            decoder_filters=decoder_filters,
            n_upsample_blocks=len(decoder_filters),
            block_type=decoder_block_type,
            activation=activation,
            use_batchnorm=decoder_use_batchnorm,
            norm=encoder.norm,
        )
    return _with_weights(network, weights)


@fill_docstring(MODEL_TEXTS)
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
    """Build a pyramid scene parsing network (Zhao et al., 2017) with the arguments of segmentation_models.

    The input consists of images (n, height, width, channels) whose sides are multiples of ``downsample_factor``,
    preprocessed by the function that `get_preprocessing` returns for the encoder. The output consists of float32 masks
    (n, height, width, classes). In segmentation_models, only static multiples of
    ``6 * downsample_factor`` are accepted as sides; for these sides, both networks are equal.

    Args:
        {backbone_name}
        {input_shape}
        {classes}
        {activation}
        {weights}
        {encoder_weights}
        {encoder_freeze}
        downsample_factor: Ratio of the image size to the size of the encoder layer that the pyramid pools: 4, 8 or 16.
        psp_conv_filters: Number of filters of the convolution of each pooled grid and of the convolution that merges
            the grids.
        psp_pooling_type: Type of pooling: ``"avg"`` or ``"max"``.
        psp_use_batchnorm: Whether the convolutions after the pyramid are normalised; without normalisation, they have a
            bias.
        psp_dropout: Spatial dropout rate in [0, 1): fraction of the merged channels that are dropped in training; None
            disables dropout.

    Raises:
        UnknownChoice: The encoder, pooling or activation is unknown.
        {WrongArgument}
        {MissingWeights}
        {UnusableWeights}

    >>> PSPNet("resnet18", input_shape=(None, None, 3), classes=3).output_shape
    (None, None, None, 3)
    """
    if downsample_factor not in (4, 8, 16):
        raise wrong_argument("downsample_factor", downsample_factor, expected="4, 8 or 16")
    encoder = _encoder(
        backbone_name, input_shape, weights=encoder_weights, freeze=encoder_freeze, multiple=downsample_factor
    )
    names = {"pooling_type": "psp_pooling_type", "conv_filters": "psp_conv_filters", "dropout": "psp_dropout"}
    with _with_argument_names(**names):
        network = build_pspnet(
            encoder.model,
            classes,
            skip_with_stride(encoder.model, encoder.skips, stride=downsample_factor, argument="backbone_name"),
            pooling_type=psp_pooling_type,
            conv_filters=psp_conv_filters,
            final_upsampling_factor=downsample_factor,
            dropout=psp_dropout,
            activation=activation,
            use_batchnorm=psp_use_batchnorm,
            norm=encoder.norm,
        )
    return _with_weights(network, weights)


@fill_docstring(MODEL_TEXTS)
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
    """Build a U-Net++ (Zhou et al., 2018): a U-Net with nested, densely connected skip connections.

    {images_of_stride_32}

    The graph is that of the same network in segmentation_models_pytorch, whose weights can be loaded if the name of the
    encoder ends in ``_v1``.

    Args:
        {backbone_name}
        {input_shape}
        {classes}
        {activation}
        {weights}
        {encoder_weights}
        {encoder_freeze}
        {encoder_features}
        {decoder_filters}
        {decoder_use_batchnorm}
        {attention}

    Raises:
        UnknownChoice: The encoder, activation or attention is unknown.
        {WrongArgument}
        {SkipSizeMismatch}
        {MissingWeights}
        {UnusableWeights}

    >>> UnetPlusPlus("resnet18", input_shape=(64, 96, 3)).output_shape
    (None, 64, 96, 1)
    """
    _check_filters(decoder_filters)
    encoder = _encoder(backbone_name, input_shape, weights=encoder_weights, freeze=encoder_freeze)
    with _with_argument_names(skip_connection_layers="encoder_features"):
        network = build_unetplusplus(
            encoder.model,
            classes,
            _features(encoder, encoder_features, max_count=len(decoder_filters)),
            decoder_filters=decoder_filters,
            attention=attention,
            activation=activation,
            use_batchnorm=decoder_use_batchnorm,
            norm=encoder.norm,
        )
    return _with_weights(network, weights)


@fill_docstring(MODEL_TEXTS)
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
    """Build a DeepLabV3+ (Chen et al., 2018), with atrous spatial pyramid pooling and one skip connection.

    The input consists of images (n, height, width, channels) whose sides are multiples of 32 pixels (16 pixels for an
    encoder whose name ends in ``_v1``), preprocessed by the function that `get_preprocessing` returns for the encoder.
    The output consists of float32 masks (n, height, width, classes). The graph is that of the same network in
    segmentation_models_pytorch, whose weights can be loaded if the name of the encoder ends in ``_v1``.

    Args:
        {backbone_name}
        {input_shape}
        {classes}
        {activation}
        {weights}
        {encoder_weights}
        {encoder_freeze}
        encoder_output_stride: Ratio of the image size to the size of the encoder's output: 16 or 32. With 16, the last
            stage of an encoder whose name ends in ``_v1`` is dilated instead of strided; all other encoders have a
            stride of 32.
        decoder_filters: Number of filters of the decoder's convolutions.
        decoder_atrous_rates: Dilation rates of the atrous convolutions, in pixels of the encoder's output.
        decoder_dropout: Dropout rate in [0, 1): fraction of values that are dropped after the atrous convolutions in
            training.
        {decoder_use_batchnorm}

    Raises:
        UnknownChoice: The encoder or activation is unknown.
        {WrongArgument}
        {MissingWeights}
        {UnusableWeights}

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
    with _with_argument_names(decoder_channels="decoder_filters", **names):
        network = build_deeplabv3plus(
            encoder.model,
            classes,
            [skip_with_stride(encoder.model, encoder.skips, stride=DEEPLAB_SKIP_STRIDE, argument="backbone_name")],
            decoder_channels=decoder_filters,
            atrous_rates=decoder_atrous_rates,
            aspp_dropout=decoder_dropout,
            upsampling=DEEPLAB_SKIP_STRIDE,
            activation=activation,
            use_batchnorm=decoder_use_batchnorm,
            norm=encoder.norm,
        )
    return _with_weights(network, weights)


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
    """Return the encoder with its weights.

    For a named encoder, the known sides of ``input_shape`` must be multiples of ``multiple``.
    """
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


def _features(encoder: Encoder, features: Features, *, max_count: int = DEFAULT_SKIPS) -> Sequence[Skip]:
    """Return the layers of the skip connections: ``features`` or at most ``max_count`` default layers."""
    use_default = isinstance(features, str) and features == "default"
    return encoder.skips[: min(max_count, DEFAULT_SKIPS)] if use_default else features


def _check_filters(filters: object) -> None:
    """Check that ``filters`` is a list with one entry per block; the builder checks the values."""
    if not isinstance(filters, Sequence) or not filters:
        raise wrong_argument("decoder_filters", filters, expected="a list with one integer of at least 1 per block")


def _with_weights(network: keras.Model, weights: WeightsFile | None) -> keras.Model:
    """Load ``weights`` into ``network`` unless they are None, and return ``network``."""
    if weights is not None:
        load_weights(network, weights, argument="weights")
    return network


@contextmanager
def _with_argument_names(**names: str) -> Iterator[None]:
    """Replace the argument names in a builder's errors with those of the calling function."""
    try:
        yield
    except InputError as error:
        argument = error.fields.get("argument")
        if argument not in names:
            raise
        raise type(error)(**{**error.fields, "argument": names[argument]}) from error
