"""FPN of segmentation_models_pytorch, with group normalisation and bilinear upsampling with aligned corners.

Sources: Kirillov et al., "Panoptic Feature Pyramid Networks", CVPR 2019; arguments and graph of
segmentation_models_pytorch 0.6.0, whose weights can be loaded. Their tensors are mapped as follows:

- ``decoder.p5`` and ``decoder.p{4, 3, 2}.skip_conv``: ``decoder_p5`` and ``decoder_p{4, 3, 2}_skip_conv``;
- ``decoder.seg_blocks.{i}.block.{j}.block.0`` and ``.1``: ``decoder_seg_blocks_{i}_block_{j}_conv`` and ``_bn``;
- ``segmentation_head.0``: ``final_conv``.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, Literal

import keras
from keras import layers

from maskwright.errors import one_of, wrong_argument
from maskwright.networks.aligned_upsampling import AlignedUpsampling2D
from maskwright.networks.argument_checks import check_at_least_one, check_dropout, is_positive_integer
from maskwright.networks.blocks import Norm, check_skip_size, conv_bn_relu
from maskwright.networks.encoder_tensors import input_and_features
from maskwright.networks.head import Activation, mask_head
from maskwright.networks.skips import Skip, skip_tensors

MergePolicy = Literal["add", "cat"]
MERGES: Final[Mapping[str, Callable[..., layers.Layer]]] = {"add": layers.Add, "cat": layers.Concatenate}

GROUPS: Final = 32
group_norm: Final[Norm] = partial(layers.GroupNormalization, groups=GROUPS, epsilon=1e-5)
LEVELS: Final = (4, 3, 2)  # above the deepest level, p5; level p has 1/2**p of the image size


def pyramid_level(x: keras.KerasTensor, skip: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
    """Add the upsampled deeper level (n, h, w, c) and a skip connection (n, 2h, 2w, s) projected to c channels."""
    skip = layers.Conv2D(x.shape[-1], 1, kernel_initializer="he_uniform", name=f"{name}_skip_conv")(skip)
    x = layers.UpSampling2D(2, name=f"{name}_upsampling")(x)
    check_skip_size(x, skip, name=name)
    return layers.Add(name=f"{name}_add")([x, skip])


def segmentation_branch(x: keras.KerasTensor, filters: int, *, doublings: int, name: str) -> keras.KerasTensor:
    """Apply a convolution and double the size ``doublings`` times, or apply one convolution if ``doublings`` is 0."""
    for step in range(max(doublings, 1)):
        block = f"{name}_block_{step}"
        x = conv_bn_relu(x, filters, norm=group_norm, name=block)
        if doublings:
            x = AlignedUpsampling2D(2, name=f"{block}_upsampling")(x)
    return x


def build_smp_fpn(
    backbone: keras.Model,
    classes: int,
    skip_connection_layers: Sequence[Skip],
    *,
    pyramid_channels: int = 256,
    segmentation_channels: int = 128,
    merge_policy: MergePolicy = "add",
    dropout: float = 0.2,
    upsampling: int = 4,
    activation: Activation = "sigmoid",
) -> keras.Model:
    """Build an FPN on any functional or built sequential Keras model whose output is a feature map.

    The input consists of the images of the backbone, (n, height, width, channels). The output consists of float32 masks
    (n, height, width, classes) if the backbone halves the size five times, and height and width are multiples of 32.

    Args:
        backbone: Encoder, as a Keras model whose output has half the height and width of the first skip connection.
        classes: Number of output channels.
        skip_connection_layers: Three layers of the backbone, by name or by index in ``backbone.layers``, each with
            twice the output height and width of the previous one.
        pyramid_channels: Number of channels of each pyramid level.
        segmentation_channels: Number of filters of the convolutions after the pyramid, a multiple of 32, the number of
            normalisation groups.
        merge_policy: How to merge the levels of the pyramid: ``"add"`` or ``"cat"`` (concatenate).
        dropout: Spatial dropout rate in [0, 1): fraction of the merged channels that are dropped in training.
        upsampling: Upsampling factor of the mask, equal to the stride of the last skip connection.
        activation: Keras activation of the output, as a name or a function; None means linear.

    Raises:
        UnknownChoice: ``merge_policy`` or ``activation`` is unknown.
        WrongArgument: Another argument has an invalid value.
        SkipSizeMismatch: The known size of a skip connection is not twice that of the deeper feature map.

    >>> from maskwright.networks.resnet_v1 import RESNET_V1_SKIPS, ResNet18V1
    >>> encoder = ResNet18V1(input_shape=(64, 96, 3))
    >>> build_smp_fpn(encoder, 2, RESNET_V1_SKIPS[:3], activation="softmax").output_shape
    (None, 64, 96, 2)
    """
    images, x = input_and_features(backbone)
    merge = one_of("merge_policy", merge_policy, MERGES)
    check_at_least_one("pyramid_channels", pyramid_channels)
    if not is_positive_integer(segmentation_channels) or segmentation_channels % GROUPS:
        expected = f"a positive multiple of {GROUPS}, the number of normalisation groups"
        raise wrong_argument("segmentation_channels", segmentation_channels, expected=expected)
    check_dropout("dropout", dropout)
    skips = skip_tensors(backbone, skip_connection_layers, argument="skip_connection_layers", max_count=len(LEVELS))
    if len(skips) < len(LEVELS):
        raise wrong_argument("skip_connection_layers", list(skip_connection_layers), expected="three layers")
    final_upsampling = AlignedUpsampling2D(upsampling, dtype="float32", name="final_upsampling")

    pyramid = [layers.Conv2D(pyramid_channels, 1, kernel_initializer="he_uniform", name="decoder_p5")(x)]
    for level, skip in zip(LEVELS, skips, strict=True):
        pyramid.append(pyramid_level(pyramid[-1], skip, name=f"decoder_p{level}"))
    branches = [
        segmentation_branch(x, segmentation_channels, doublings=len(LEVELS) - i, name=f"decoder_seg_blocks_{i}")
        for i, x in enumerate(pyramid)
    ]  # each (n, height / 4, width / 4, segmentation_channels)
    x = merge(name="decoder_merge")(branches)
    if dropout:
        x = layers.SpatialDropout2D(dropout, name="decoder_dropout")(x)
    mask = mask_head(x, classes, activation=activation, size=1, upsampling=final_upsampling)
    return keras.Model(images, mask, name="smp_fpn")
