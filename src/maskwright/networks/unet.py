"""U-Net: an encoder, a decoder and skip connections between feature maps of equal size.

Sources: Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015;
arguments and layer names of segmentation_models 1.0.1.
"""

from collections.abc import Sequence
from math import prod
from typing import Literal

import keras
from keras import layers

from maskwright.errors import one_of, wrong_argument
from maskwright.networks.argument_checks import are_positive_integers, check_at_least_one, check_dropout
from maskwright.networks.attention import AttentionName, attention_by_name
from maskwright.networks.auxiliary_outputs import (
    MASK,
    PRESENCE,
    deep_supervision_masks,
    hypercolumn_features,
    presence_head,
)
from maskwright.networks.blocks import DECODER_BLOCKS, Norm, batch_norm
from maskwright.networks.encoder_tensors import center_block, input_and_features
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
    classification_head: bool = False,
    dropout: float = 0.0,
) -> keras.Model:
    """Build a U-Net on any functional or built sequential Keras model whose output is a feature map.

    The input consists of the images of the backbone, (n, height, width, channels). The output consists of float32 masks
    (n, height, width, classes) if the upsampling rates match the backbone's strides, and height and width are multiples
    of its total stride.

    Args:
        backbone: Encoder, as a Keras model. If its last layer is max pooling, as in a VGG, it is followed by two
            convolutions with 512 filters.
        classes: Number of output channels.
        skip_connection_layers: Names of the backbone's layers, or their indices in ``backbone.layers``, from deep
            to shallow; there may be fewer layers than blocks.
        decoder_filters: Number of filters of each decoder block.
        upsample_rates: Upsampling factor of each decoder block.
        n_upsample_blocks: Number of decoder blocks; further entries of ``decoder_filters`` and ``upsample_rates`` are
            ignored.
        block_type: Type of the decoder blocks: ``"upsampling"`` (nearest neighbour, then two convolutions) or
            ``"transpose"`` (a 4x4 transposed convolution, then one convolution).
        activation: Keras activation of the output, as a name or a function; None means linear.
        use_batchnorm: Whether to use normalisation in the decoder; without it, the decoder's convolutions have a bias.
        norm: Factory of normalisation layers, called as ``norm(name=...)``; `torch_batch_norm` has the settings of
            torch.
        attention: ``"scse"`` adds channel and spatial attention (see `scse`) to every block, after the concatenation
            with the skip connection and at the end of the block; None adds no attention.
        hypercolumn: Whether the head receives the bilinearly upsampled feature maps of all decoder blocks instead of
            only that of the last block.
        deep_supervision: Whether to add a full-size training output for each decoder block except the last:
            ``"mask_stage0"`` for the deepest block, and so on.
        classification_head: Whether to add a training output ``"presence"`` of shape (n, 1): the probability that the
            image contains any foreground, computed from the encoder's features.
        dropout: Spatial dropout rate in [0, 1): fraction of channels that are dropped before the head in training.

    With ``deep_supervision`` or ``classification_head``, the output is a dictionary with the mask as ``"mask"``, so
    ``compile`` accepts a loss for each name: ``loss={"mask": ..., "presence": ...}``. `mask_only` removes the other
    outputs.

    Raises:
        UnknownChoice: ``block_type``, ``activation`` or ``attention`` is unknown.
        WrongArgument: Another argument has an invalid value.
        SkipSizeMismatch: The known size of a skip connection differs from that of its decoder block.

    >>> from maskwright.networks import ResNet18
    >>> encoder = ResNet18(include_top=False, input_shape=(64, 96, 3))
    >>> skips = ["stage4_unit1_relu1", "stage3_unit1_relu1", "stage2_unit1_relu1", "relu0"]
    >>> build_unet(encoder, 2, skips, activation="softmax").output_shape
    (None, 64, 96, 2)
    """
    images, features = input_and_features(backbone)
    block = one_of("block_type", block_type, DECODER_BLOCKS)
    attention_layer = attention_by_name(attention)
    check_dropout("dropout", dropout)
    check_at_least_one("n_upsample_blocks", n_upsample_blocks)
    filters = _per_block("decoder_filters", decoder_filters, blocks=n_upsample_blocks)
    rates = _per_block("upsample_rates", upsample_rates, blocks=n_upsample_blocks)
    skips = skip_tensors(
        backbone, skip_connection_layers, argument="skip_connection_layers", max_count=n_upsample_blocks
    )
    padded_skips = [*skips, *[None] * (n_upsample_blocks - len(skips))]  # later blocks only upsample
    norm_or_none = norm if use_batchnorm else None

    x = center_block(backbone, features, norm=norm_or_none)
    feature_maps = []
    for level, (skip, width, rate) in enumerate(zip(padded_skips, filters, rates, strict=True)):
        name = f"decoder_stage{level}"
        x = block(x, skip, filters=width, rate=rate, norm=norm_or_none, attention=attention_layer, name=name)
        feature_maps.append(x)  # (n, h * rate, w * rate, width)
    scales = [prod(rates[level + 1 :]) for level in range(len(rates))]  # upsampling from each feature map to the last
    if hypercolumn:
        x = hypercolumn_features(feature_maps, scales=scales)
    if dropout:
        x = layers.SpatialDropout2D(dropout, name="final_dropout")(x)
    mask = mask_head(x, classes, activation=activation)
    if not (deep_supervision or classification_head):
        return keras.Model(images, mask, name="unet")

    outputs = {MASK: mask}
    if deep_supervision:
        outputs |= deep_supervision_masks(feature_maps[:-1], scales=scales[:-1], classes=classes, activation=activation)
    if classification_head:
        outputs[PRESENCE] = presence_head(features)
    return keras.Model(images, outputs, name="unet")


def _per_block(argument: str, values: Sequence[int], *, blocks: int) -> Sequence[int]:
    if not are_positive_integers(values) or len(values) < blocks:
        expected = f"a list with an integer of at least 1 for each of the {blocks} decoder blocks"
        raise wrong_argument(argument, values, expected=expected)
    return values[:blocks]
