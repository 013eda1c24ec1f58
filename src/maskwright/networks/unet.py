"""U-Net: an encoder that halves, a decoder that doubles, and skip connections between equal sizes.

Sources: Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015;
arguments and layer names of the reference library segmentation_models 1.0.1.
"""

from collections.abc import Sequence
from math import prod
from typing import Literal

import keras
from keras import layers

from maskwright.errors import one_of, wrong_argument
from maskwright.networks.argument_checks import are_positive_integers, check_at_least_one, check_dropout
from maskwright.networks.attention import AttentionName, attention_called
from maskwright.networks.auxiliary_outputs import MASK, PRESENT, hypercolumn_of, presence, stage_masks
from maskwright.networks.blocks import DECODER_BLOCKS, Norm, batch_norm
from maskwright.networks.encoder_ends import centre, ends
from maskwright.networks.head import Activation, mask_head
from maskwright.networks.skips import Skip, skip_tensors

BlockType = Literal["upsampling", "transpose"]


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
    *,
    norm: Norm = batch_norm,
    attention: AttentionName | None = None,
    hypercolumn: bool = False,
    deep_supervision: bool = False,
    empty_head: bool = False,
    dropout: float = 0.0,
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
        norm: The normalisation, a factory called as ``norm(name=...)``; `torch_batch_norm` is that of torch networks.
        attention: ``"scse"`` weighs the map of every block by channel and by pixel, see `scse`, after the skip is
            joined and at the block's end.
        hypercolumn: Give the head the maps of all blocks, enlarged bilinearly to full size, not the last alone.
        deep_supervision: Further outputs to train with, ``"mask_stage0"`` for the deepest block and so on to the last
            but one: masks of those blocks' maps at full size, by the same activation.
        empty_head: A further output to train with, ``"present"`` (n, 1): the probability that the image holds anything
            at all, of the encoder's features.
        dropout: Share of the channels to drop before the head in training, in [0, 1); 0 for no such layer.

    With ``deep_supervision`` or ``empty_head`` the network returns a dictionary whose ``"mask"`` is the mask, and takes
    a loss for each name, ``compile(loss={"mask": ..., "present": ...})``; `mask_only` gives the network of the mask.

    Raises:
        UnknownChoice: ``block_type``, ``activation`` or ``attention`` is unknown.
        WrongArgument: another argument cannot be used.
        SkipSizeMismatch: a skip's known size is not its block's, so the order, the rates or the image size are wrong.

    >>> from maskwright.networks import ResNet18
    >>> encoder = ResNet18(include_top=False, input_shape=(64, 96, 3))
    >>> skips = ["stage4_unit1_relu1", "stage3_unit1_relu1", "stage2_unit1_relu1", "relu0"]
    >>> build_unet(encoder, 2, skips, activation="softmax").output_shape
    (None, 64, 96, 2)
    """
    images, features = ends(backbone)
    block = one_of("block_type", block_type, DECODER_BLOCKS)
    attend = attention_called(attention)
    check_dropout("dropout", dropout)
    check_at_least_one("n_upsample_blocks", n_upsample_blocks)
    filters = _per_block("decoder_filters", decoder_filters, blocks=n_upsample_blocks)
    rates = _per_block("upsample_rates", upsample_rates, blocks=n_upsample_blocks)
    skips = skip_tensors(backbone, skip_connection_layers, argument="skip_connection_layers", most=n_upsample_blocks)
    padded_skips = [*skips, *[None] * (n_upsample_blocks - len(skips))]  # blocks beyond the last skip only enlarge
    norm_or_none = norm if use_batchnorm else None

    x = centre(backbone, features, norm=norm_or_none)
    maps = []
    for level, (skip, width, rate) in enumerate(zip(padded_skips, filters, rates, strict=True)):
        name = f"decoder_stage{level}"
        x = block(x, skip, filters=width, rate=rate, norm=norm_or_none, attention=attend, name=name)
        maps.append(x)  # (n, h * rate, w * rate, width)
    scales = [prod(rates[level + 1 :]) for level in range(len(rates))]  # from each map to the last
    if hypercolumn:
        x = hypercolumn_of(maps, scales=scales)
    if dropout:
        x = layers.SpatialDropout2D(dropout, name="final_dropout")(x)
    mask = mask_head(x, classes, activation=activation)
    if not (deep_supervision or empty_head):
        return keras.Model(images, mask, name="unet")

    outputs = {MASK: mask}
    if deep_supervision:
        outputs |= stage_masks(maps[:-1], scales=scales[:-1], classes=classes, activation=activation)
    if empty_head:
        outputs[PRESENT] = presence(features)
    return keras.Model(images, outputs, name="unet")


def _per_block(argument: str, values: Sequence[int], *, blocks: int) -> Sequence[int]:
    if not are_positive_integers(values) or len(values) < blocks:
        expected = f"a list with an integer of at least 1 for each of the {blocks} decoder blocks"
        raise wrong_argument(argument, values, expected=expected)
    return values[:blocks]
