"""U-Net: an encoder that halves, a decoder that doubles, and skip connections between equal sizes.

Sources: Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015;
arguments and layer names of the reference library segmentation_models 1.0.1.
"""

from collections.abc import Sequence
from typing import Final, Literal

import keras
from keras import layers

from maskwright.errors import one_of, wrong_argument
from maskwright.networks.backbones import BACKBONES, Skip, freeze_encoder, skip_tensors
from maskwright.networks.blocks import DECODER_BLOCKS, DecoderBlock, conv_bn_relu
from maskwright.networks.checks import (
    MAP,
    ImageShape,
    are_positive_integers,
    check_divisible_sides,
    check_image_format,
    is_map,
    is_positive_integer,
)
from maskwright.networks.head import Activation, mask_head
from maskwright.networks.loading import WeightsFile, load_weights

BlockType = Literal["upsampling", "transpose"]

ENCODER_STRIDE: Final = 32  # every encoder of the table halves five times


def connect(
    backbone: keras.Model,
    skips: Sequence[keras.KerasTensor],
    *,
    block: DecoderBlock,
    filters: Sequence[int],
    rates: Sequence[int],
    classes: int,
    activation: Activation,
    use_batchnorm: bool,
) -> keras.Model:
    """The graph itself: ``backbone``, one ``block`` for each of ``filters`` and ``rates``, the head.

    Blocks beyond the last skip only enlarge. Raises what `build_unet` raises for classes, activation and a skip's size.
    """
    check_image_format()
    # A Sequential has no `input` and `output` before it is called.
    source = backbone.inputs[0] if isinstance(backbone, keras.Sequential) else backbone.input
    (x,) = backbone.outputs
    if isinstance(backbone.layers[-1], layers.MaxPooling2D):
        # A VGG ends in a bare pooling: these two take the place of the convolutions a deeper stage would have.
        x = conv_bn_relu(x, 512, use_batchnorm=use_batchnorm, name="center_block1")
        x = conv_bn_relu(x, 512, use_batchnorm=use_batchnorm, name="center_block2")
    padded_skips = [*skips, *[None] * (len(filters) - len(skips))]
    for level, (skip, width, rate) in enumerate(zip(padded_skips, filters, rates, strict=True)):
        name = f"decoder_stage{level}"
        x = block(x, skip, filters=width, rate=rate, use_batchnorm=use_batchnorm, name=name)  # (n, h*rate, w*rate, f)
    return keras.Model(source, mask_head(x, classes, activation=activation), name="unet")


def build_unet(
    backbone: keras.Model,
    classes: int,
    skip_connection_layers: Sequence[Skip],
    decoder_filters: Sequence[int] = (256, 128, 64, 32, 16),
    upsample_rates: Sequence[int] = (2, 2, 2, 2, 2),
    n_upsample_blocks: int = 5,
    block_type: BlockType = "upsampling",
    activation: Activation = "sigmoid",
    use_batchnorm: bool = True,
) -> keras.Model:
    """A U-Net on any functional or built sequential Keras model whose output is a feature map.

    Takes the backbone's images, (n, height, width, channels); returns (n, height, width, classes) in float32, when
    the rates undo the backbone's strides and these divide height and width.

    Args:
        backbone: The encoder. One that ends in a max pooling, as a VGG does, gets two more convolutions of 512.
        classes: Maps in the output.
        skip_connection_layers: Names of the backbone's layers, or their indices in ``backbone.layers``, from deep
            to shallow; there may be fewer than blocks.
        decoder_filters: Filters of each decoder block.
        upsample_rates: How many times each block enlarges.
        n_upsample_blocks: How many blocks; longer ``decoder_filters`` and ``upsample_rates`` are cut.
        block_type: ``"upsampling"`` (nearest, then two convolutions) or ``"transpose"`` (4x4 transposed, then one).
        activation: Keras activation of the output, by name or as a function; None is linear.
        use_batchnorm: Normalise in the decoder; without it the convolutions have a bias.

    Raises:
        UnknownChoice: ``block_type`` or ``activation`` is unknown.
        WrongArgument: another argument cannot be used.
        SkipSizeMismatch: a skip's known size is not its block's, so the order, the rates or the image size are wrong.

    >>> from maskwright.networks import ResNet18
    >>> encoder = ResNet18(include_top=False, input_shape=(64, 96, 3))
    >>> skips = ["stage4_unit1_relu1", "stage3_unit1_relu1", "stage2_unit1_relu1", "relu0"]
    >>> build_unet(encoder, 2, skips, activation="softmax").output_shape
    (None, 64, 96, 2)
    """
    _check_backbone(backbone)
    block = one_of("block_type", block_type, DECODER_BLOCKS)
    if not is_positive_integer(n_upsample_blocks):
        raise wrong_argument("n_upsample_blocks", n_upsample_blocks, expected="an integer of at least 1")
    filters = _per_block("decoder_filters", decoder_filters, blocks=n_upsample_blocks)
    rates = _per_block("upsample_rates", upsample_rates, blocks=n_upsample_blocks)
    skips = skip_tensors(backbone, skip_connection_layers, argument="skip_connection_layers", most=n_upsample_blocks)
    return connect(
        backbone,
        skips,
        block=block,
        filters=filters,
        rates=rates,
        classes=classes,
        activation=activation,
        use_batchnorm=use_batchnorm,
    )


def Unet(
    backbone_name: str = "resnet34",
    input_shape: ImageShape = (None, None, 3),
    classes: int = 1,
    activation: Activation = "sigmoid",
    weights: WeightsFile | None = None,
    encoder_weights: WeightsFile | None = None,
    encoder_freeze: bool = False,
    encoder_features: Literal["default"] | Sequence[Skip] = "default",
    decoder_block_type: BlockType = "upsampling",
    decoder_filters: Sequence[int] = (256, 128, 64, 32, 16),
    decoder_use_batchnorm: bool = True,
) -> keras.Model:
    """A U-Net on a named encoder, with the arguments of the reference library's ``Unet``.

    Takes images (n, height, width, channels), RGB in 0-255, sides multiples of 32 pixels; returns
    (n, height, width, classes) in float32. Two defaults differ from the reference's: the encoder, there a VGG16,
    and ``encoder_weights``, there ``"imagenet"``.

    Args:
        backbone_name: One of `backbones()`.
        input_shape: Height, width and channels; height and width may be None.
        classes: Maps in the output.
        activation: Keras activation of the output, by name or as a function; None is linear.
        weights: A ``.weights.h5`` file for the whole network.
        encoder_weights: A ``.weights.h5`` file for the encoder alone, written from `build_backbone`'s model.
        encoder_freeze: Train no layer of the encoder but its batch normalisations.
        encoder_features: Layers to join, names or indices from deep to shallow; ``"default"`` takes the encoder's own.
        decoder_block_type: ``"upsampling"`` or ``"transpose"``, see `build_unet`.
        decoder_filters: Filters of each decoder block; as many blocks, each doubling the size.
        decoder_use_batchnorm: Normalise in the decoder; without it the convolutions have a bias.

    Raises:
        UnknownChoice: the encoder, block type or activation is unknown.
        WrongArgument: another argument cannot be used.
        MissingWeights: a weights argument names no file; published weights are not available in this version.
        UnusableWeights: a weights file does not fit.

    >>> Unet("resnet18", classes=3, activation="softmax").output_shape
    (None, None, None, 3)
    """
    encoder = one_of("backbone_name", backbone_name, BACKBONES)
    block = one_of("decoder_block_type", decoder_block_type, DECODER_BLOCKS)
    filters = _per_block("decoder_filters", decoder_filters, blocks=None)
    by_default = isinstance(encoder_features, str) and encoder_features == "default"
    features = encoder.skips[: len(filters)] if by_default else encoder_features

    backbone = encoder.build(first_unit="projection", input_shape=input_shape, include_top=False)
    check_divisible_sides(input_shape, by=ENCODER_STRIDE)
    if encoder_weights is not None:
        load_weights(backbone, encoder_weights, argument="encoder_weights")
    if encoder_freeze:
        freeze_encoder(backbone)
    network = connect(
        backbone,
        skip_tensors(backbone, features, argument="encoder_features", most=len(filters)),
        block=block,
        filters=filters,
        rates=[2] * len(filters),
        classes=classes,
        activation=activation,
        use_batchnorm=decoder_use_batchnorm,
    )
    if weights is not None:
        load_weights(network, weights, argument="weights")
    return network


def _per_block(argument: str, values: Sequence[int], *, blocks: int | None) -> Sequence[int]:
    if not are_positive_integers(values) or len(values) < (blocks or 1):
        which = "each decoder block" if blocks is None else f"each of the {blocks} decoder blocks"
        raise wrong_argument(argument, values, expected=f"a list with an integer of at least 1 for {which}")
    return values[:blocks]


def _check_backbone(backbone: keras.Model) -> None:
    outputs = getattr(backbone, "outputs", None)
    if not isinstance(backbone, keras.Model) or not outputs or len(outputs) > 1 or not is_map(outputs[0]):
        expected = f"a functional or built sequential Keras model with one output, a map {MAP}"
        raise wrong_argument("backbone", backbone, expected=expected, hint="Build it with include_top=False.")
