"""LinkNet: decoder blocks with a bottleneck, and skip connections that are added instead of concatenated.

Sources: Chaurasia and Culurciello, "LinkNet: Exploiting Encoder Representations for Efficient Semantic
Segmentation", VCIP 2017; arguments and layer names of segmentation_models 1.0.1.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import keras
from keras import layers

from maskwright.errors import one_of, wrong_argument
from maskwright.networks.argument_checks import are_positive_integers, check_at_least_one, is_positive_integer
from maskwright.networks.blocks import Norm, batch_norm, check_skip_size, conv_bn_relu, norm_relu
from maskwright.networks.encoder_tensors import center_block, input_and_features
from maskwright.networks.head import Activation, mask_head
from maskwright.networks.skips import Skip, skip_tensors
from maskwright.networks.unet import BlockType

# Function that computes (n, 2h, 2w, c) from (n, h, w, c), with the keyword arguments norm and name.
Upsample = Callable[..., keras.KerasTensor]


def nearest_upsampling(x: keras.KerasTensor, *, norm: Norm | None, name: str) -> keras.KerasTensor:
    """Upsample by nearest neighbour and apply a convolution."""
    x = layers.UpSampling2D(2, name=f"{name}_upsampling")(x)
    return conv_bn_relu(x, x.shape[-1], norm=norm, name=f"{name}b")


def transposed_convolution(x: keras.KerasTensor, *, norm: Norm | None, name: str) -> keras.KerasTensor:
    """Upsample by a 4x4 transposed convolution."""
    conv = layers.Conv2DTranspose(
        x.shape[-1], 4, strides=2, padding="same", use_bias=norm is None, name=f"{name}b_transpose"
    )
    return norm_relu(conv(x), norm=norm, name=f"{name}b")


UPSAMPLING: Final[Mapping[str, Upsample]] = {"upsampling": nearest_upsampling, "transpose": transposed_convolution}


def decoder_block(
    x: keras.KerasTensor,
    skip: keras.KerasTensor | None,
    *,
    upsample: Upsample,
    filters: int,
    norm: Norm | None,
    name: str,
) -> keras.KerasTensor:
    """Compute (n, 2h, 2w, filters) from ``x`` (n, h, w, c) and ``skip`` (n, 2h, 2w, filters), which may be None."""
    bottleneck = max(1, x.shape[-1] // 4)
    x = conv_bn_relu(x, bottleneck, size=1, norm=norm, name=f"{name}a")
    x = upsample(x, norm=norm, name=name)
    x = conv_bn_relu(x, filters, size=1, norm=norm, name=f"{name}c")
    if skip is None:
        return x
    check_skip_size(x, skip, name=name)
    return layers.Add(name=f"{name}_add")([x, skip])


def build_linknet(
    backbone: keras.Model,
    classes: int,
    skip_connection_layers: Sequence[Skip],
    *,
    decoder_filters: Sequence[int | None] = (None, None, None, None, 16),
    n_upsample_blocks: int = 5,
    block_type: BlockType = "upsampling",
    activation: Activation = "sigmoid",
    use_batchnorm: bool = True,
    norm: Norm = batch_norm,
) -> keras.Model:
    """Build a LinkNet on any functional or built sequential Keras model whose output is a feature map.

    The input consists of the images of the backbone, (n, height, width, channels). The output consists of float32 masks
    (n, height, width, classes) if the backbone halves the size once for each block, and height and width are
    multiples of its stride.

    Args:
        backbone: Encoder, as a Keras model. If its last layer is max pooling, as in a VGG, it is followed by two
            convolutions with 512 filters.
        classes: Number of output channels.
        skip_connection_layers: Names of the backbone's layers, or their indices in ``backbone.layers``, from deep
            to shallow; there may be fewer layers than blocks.
        decoder_filters: Number of filters of each decoder block. For a block with a skip connection, the entry is
            ignored because the block has as many channels as the skip connection. For any other block except the last,
            None means half of the filters of the previous block.
        n_upsample_blocks: Number of decoder blocks; further entries of ``decoder_filters`` are ignored.
        block_type: Type of the decoder blocks: ``"upsampling"`` (nearest neighbour, then a convolution) or
            ``"transpose"`` (a 4x4 transposed convolution).
        activation: Keras activation of the output, as a name or a function; None means linear.
        use_batchnorm: Whether to use normalisation in the decoder; without it, the decoder's convolutions have a bias.
        norm: Factory of normalisation layers, called as ``norm(name=...)``.

    Raises:
        UnknownChoice: ``block_type`` or ``activation`` is unknown.
        WrongArgument: Another argument has an invalid value.
        SkipSizeMismatch: The known size of a skip connection differs from that of its decoder block.

    >>> from maskwright.networks import ResNet18
    >>> encoder = ResNet18(include_top=False, input_shape=(64, 96, 3))
    >>> skips = ["stage4_unit1_relu1", "stage3_unit1_relu1", "stage2_unit1_relu1", "relu0"]
    >>> build_linknet(encoder, 2, skips, activation="softmax").output_shape
    (None, 64, 96, 2)
    """
    images, x = input_and_features(backbone)
    upsample = one_of("block_type", block_type, UPSAMPLING)
    check_at_least_one("n_upsample_blocks", n_upsample_blocks)
    skips = skip_tensors(
        backbone, skip_connection_layers, argument="skip_connection_layers", max_count=n_upsample_blocks
    )
    filters = _per_block(decoder_filters, blocks=n_upsample_blocks, skips=skips)
    norm_or_none = norm if use_batchnorm else None

    x = center_block(backbone, x, norm=norm_or_none)
    padded_skips = [*skips, *[None] * (n_upsample_blocks - len(skips))]
    for level, (skip, width) in enumerate(zip(padded_skips, filters, strict=True)):
        name = f"decoder_stage{level}"
        x = decoder_block(x, skip, upsample=upsample, filters=width, norm=norm_or_none, name=name)
    return keras.Model(images, mask_head(x, classes, activation=activation), name="linknet")


def _per_block(values: Sequence[int | None], *, blocks: int, skips: Sequence[keras.KerasTensor]) -> list[int]:
    """Return the filters of each block: the channels of its skip, the given value, or half of the previous value."""
    if isinstance(values, Sequence) and len(values) >= blocks:
        ignored, free = values[: len(skips)], values[len(skips) : blocks]
        valid = all(value is None or is_positive_integer(value) for value in (*ignored, *free[:-1]))
        if valid and are_positive_integers(free[-1:]) and (skips or free[0] is not None):
            filters = [skip.shape[-1] for skip in skips]
            for value in free:
                filters.append(value or max(1, filters[-1] // 2))
            return filters
    expected = f"a list with an integer of at least 1 for each of the {blocks} decoder blocks"
    hint = "None is allowed for a block with a skip connection, and for one without if it is not the last."
    raise wrong_argument("decoder_filters", values, expected=expected, hint=hint)
