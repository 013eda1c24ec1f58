"""LinkNet: a decoder that narrows, enlarges and widens again, and adds the encoder's maps instead of joining them.

Sources: Chaurasia and Culurciello, "LinkNet: Exploiting Encoder Representations for Efficient Semantic
Segmentation", VCIP 2017; arguments and layer names of the reference library segmentation_models 1.0.1.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import keras
from keras import layers

from maskwright.errors import one_of, wrong_argument
from maskwright.networks.argument_checks import are_positive_integers, check_at_least_one, is_positive_integer
from maskwright.networks.blocks import Norm, batch_norm, check_sizes, conv_bn_relu, norm_relu
from maskwright.networks.encoder_ends import centre, ends
from maskwright.networks.head import Activation, mask_head
from maskwright.networks.skips import Skip, skip_tensors
from maskwright.networks.unet import BlockType

# Turns (n, h, w, c) into (n, 2h, 2w, c) and takes keywords norm and name.
Enlarge = Callable[..., keras.KerasTensor]


def upsampling(x: keras.KerasTensor, *, norm: Norm | None, name: str) -> keras.KerasTensor:
    """Repeat every pixel twice each way, then convolve."""
    x = layers.UpSampling2D(2, name=f"{name}_upsampling")(x)
    return conv_bn_relu(x, x.shape[-1], norm=norm, name=f"{name}b")


def transpose(x: keras.KerasTensor, *, norm: Norm | None, name: str) -> keras.KerasTensor:
    """Enlarge by a learned 4x4 transposed convolution."""
    conv = layers.Conv2DTranspose(
        x.shape[-1], 4, strides=2, padding="same", use_bias=norm is None, name=f"{name}b_transpose"
    )
    return norm_relu(conv(x), norm=norm, name=f"{name}b")


ENLARGE: Final[Mapping[str, Enlarge]] = {"upsampling": upsampling, "transpose": transpose}


def decoder_block(
    x: keras.KerasTensor,
    skip: keras.KerasTensor | None,
    *,
    enlarge: Enlarge,
    filters: int,
    norm: Norm | None,
    name: str,
) -> keras.KerasTensor:
    """Turn (n, h, w, c) and a skip (n, 2h, 2w, filters), or None, into (n, 2h, 2w, filters)."""
    narrow = max(1, x.shape[-1] // 4)
    x = conv_bn_relu(x, narrow, size=1, norm=norm, name=f"{name}a")
    x = enlarge(x, norm=norm, name=name)
    x = conv_bn_relu(x, filters, size=1, norm=norm, name=f"{name}c")
    if skip is None:
        return x
    check_sizes(x, skip, name=name)
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
    """A LinkNet on any functional or built sequential Keras model whose output is a feature map.

    Takes the backbone's images, (n, height, width, channels); returns (n, height, width, classes) in float32, when
    the blocks are as many as the backbone's halvings and these divide height and width.

    Args:
        backbone: The encoder. One that ends in a max pooling, as a VGG does, gets two more convolutions of 512.
        classes: Maps in the output.
        skip_connection_layers: Names of the backbone's layers, or their indices in ``backbone.layers``, from deep
            to shallow; there may be fewer than blocks.
        decoder_filters: Filters of each decoder block. A block with a skip has the skip's channels, whatever is given;
            one without, but not the last, may be None for half of the block's before it.
        n_upsample_blocks: How many blocks; longer ``decoder_filters`` are cut.
        block_type: ``"upsampling"`` (nearest, then a convolution) or ``"transpose"`` (4x4 transposed convolution).
        activation: Keras activation of the output, by name or as a function; None is linear.
        use_batchnorm: Normalise in the decoder; without it the convolutions have a bias.
        norm: The normalisation, a factory called as ``norm(name=...)``.

    Raises:
        UnknownChoice: ``block_type`` or ``activation`` is unknown.
        WrongArgument: another argument cannot be used.
        SkipSizeMismatch: a skip's known size is not its block's.

    >>> from maskwright.networks import ResNet18
    >>> encoder = ResNet18(include_top=False, input_shape=(64, 96, 3))
    >>> skips = ["stage4_unit1_relu1", "stage3_unit1_relu1", "stage2_unit1_relu1", "relu0"]
    >>> build_linknet(encoder, 2, skips, activation="softmax").output_shape
    (None, 64, 96, 2)
    """
    images, x = ends(backbone)
    enlarge = one_of("block_type", block_type, ENLARGE)
    check_at_least_one("n_upsample_blocks", n_upsample_blocks)
    skips = skip_tensors(backbone, skip_connection_layers, argument="skip_connection_layers", most=n_upsample_blocks)
    filters = _per_block(decoder_filters, blocks=n_upsample_blocks, skips=skips)
    norm_or_none = norm if use_batchnorm else None

    x = centre(backbone, x, norm=norm_or_none)
    padded_skips = [*skips, *[None] * (n_upsample_blocks - len(skips))]
    for level, (skip, width) in enumerate(zip(padded_skips, filters, strict=True)):
        name = f"decoder_stage{level}"
        x = decoder_block(x, skip, enlarge=enlarge, filters=width, norm=norm_or_none, name=name)
    return keras.Model(images, mask_head(x, classes, activation=activation), name="linknet")


def _per_block(values: Sequence[int | None], *, blocks: int, skips: Sequence[keras.KerasTensor]) -> list[int]:
    """Filters of each block: its skip's channels, or what ``values`` say; for None half of the block's before it."""
    if isinstance(values, Sequence) and len(values) >= blocks:
        joined, free = values[: len(skips)], values[len(skips) : blocks]
        told = all(value is None or is_positive_integer(value) for value in (*joined, *free[:-1]))
        if told and are_positive_integers(free[-1:]) and (skips or free[0] is not None):
            filters = [skip.shape[-1] for skip in skips]
            for value in free:
                filters.append(value or max(1, filters[-1] // 2))
            return filters
    expected = f"a list with an integer of at least 1 for each of the {blocks} decoder blocks"
    hint = "It may be None for a block with a skip connection, and for one without that is not the last."
    raise wrong_argument("decoder_filters", values, expected=expected, hint=hint)
