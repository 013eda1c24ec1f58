"""FPN: a top-down pyramid with one level per encoder resolution, whose levels are upsampled to one size and merged.

Sources: Lin et al., "Feature Pyramid Networks for Object Detection", CVPR 2017; Kirillov et al., "Panoptic Feature
Pyramid Networks", CVPR 2019; arguments and layer names of segmentation_models 1.0.1.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

import keras
from keras import layers

from maskwright.errors import one_of, wrong_argument
from maskwright.networks.argument_checks import check_at_least_one, check_dropout
from maskwright.networks.bilinear_upsampling import BilinearUpsampling2D
from maskwright.networks.blocks import Norm, batch_norm, check_skip_size, conv_bn_relu
from maskwright.networks.encoder_tensors import input_and_features
from maskwright.networks.head import Activation, mask_head
from maskwright.networks.skips import Skip, skip_tensors

Aggregation = Literal["sum", "concat"]
AGGREGATIONS: Final[Mapping[str, Callable[..., layers.Layer]]] = {"sum": layers.Add, "concat": layers.Concatenate}
STAGES: Final = (5, 4, 3, 2)  # from deep to shallow: stage s has 1/2**(s - 1) of the image size


def pyramid_block(x: keras.KerasTensor, skip: keras.KerasTensor, *, filters: int, name: str) -> keras.KerasTensor:
    """Project ``x`` (n, h, w, c) and ``skip`` (n, 2h, 2w, s) to ``filters`` channels, upsample ``x`` and add both."""
    if x.shape[-1] != filters:
        x = layers.Conv2D(filters, 1, kernel_initializer="he_uniform", name=f"{name}_pre_conv")(x)
    skip = layers.Conv2D(filters, 1, kernel_initializer="he_uniform", name=f"{name}_conv")(skip)
    x = layers.UpSampling2D(2, name=f"{name}_upsampling")(x)
    check_skip_size(x, skip, name=name)
    return layers.Add(name=f"{name}_add")([x, skip])


def build_fpn(
    backbone: keras.Model,
    classes: int,
    skip_connection_layers: Sequence[Skip],
    *,
    pyramid_block_filters: int = 256,
    segmentation_filters: int | None = None,
    pyramid_aggregation: Aggregation = "sum",
    dropout: float | None = None,
    activation: Activation = "sigmoid",
    use_batchnorm: bool = True,
    norm: Norm = batch_norm,
) -> keras.Model:
    """Build an FPN on any functional or built sequential Keras model whose output is a feature map.

    The input consists of the images of the backbone, (n, height, width, channels). The output consists of float32 masks
    (n, height, width, classes) if the backbone halves the size five times, and height and width are multiples of 32.

    Args:
        backbone: Encoder, as a Keras model whose output has half the height and width of the first skip connection.
        classes: Number of output channels.
        skip_connection_layers: Four layers of the backbone, by name or by index in ``backbone.layers``, each with twice
            the output height and width of the previous one; the output of the last one has half the image size. For a
            backbone that starts with a stride of 4, pass three layers; the output of the last one then has a quarter of
            the image size.
        pyramid_block_filters: Number of channels of each pyramid level.
        segmentation_filters: Number of filters of the convolutions after the pyramid; None means half of
            ``pyramid_block_filters``.
        pyramid_aggregation: How to merge the levels of the pyramid: ``"sum"`` or ``"concat"``.
        dropout: Spatial dropout rate in [0, 1): fraction of the merged channels that are dropped in training; None
            disables dropout.
        activation: Keras activation of the output, as a name or a function; None means linear.
        use_batchnorm: Whether the convolutions after the pyramid are normalised; without normalisation, they have a
            bias.
        norm: Factory of normalisation layers, called as ``norm(name=...)``.

    Raises:
        UnknownChoice: ``pyramid_aggregation`` or ``activation`` is unknown.
        WrongArgument: Another argument has an invalid value.
        SkipSizeMismatch: The known size of a skip connection is not twice that of the deeper feature map.

    >>> from maskwright.networks import ResNet18
    >>> encoder = ResNet18(include_top=False, input_shape=(64, 96, 3))
    >>> skips = ["stage4_unit1_relu1", "stage3_unit1_relu1", "stage2_unit1_relu1", "relu0"]
    >>> build_fpn(encoder, 2, skips, activation="softmax").output_shape
    (None, 64, 96, 2)
    """
    images, x = input_and_features(backbone)
    aggregate = one_of("pyramid_aggregation", pyramid_aggregation, AGGREGATIONS)
    check_at_least_one("pyramid_block_filters", pyramid_block_filters)
    if segmentation_filters is None:
        segmentation_filters = max(1, pyramid_block_filters // 2)
    check_at_least_one("segmentation_filters", segmentation_filters)
    check_dropout("dropout", dropout)
    skips = skip_tensors(backbone, skip_connection_layers, argument="skip_connection_layers", max_count=len(STAGES))
    if len(skips) < len(STAGES) - 1:
        raise wrong_argument("skip_connection_layers", list(skip_connection_layers), expected="three or four layers")
    stages = STAGES[: len(skips)]
    norm_or_none = norm if use_batchnorm else None

    pyramid = []
    for stage, skip in zip(stages, skips, strict=True):
        x = pyramid_block(x, skip, filters=pyramid_block_filters, name=f"fpn_stage_p{stage}")
        pyramid.append(x)
    levels = []
    for stage, x in zip(stages, pyramid, strict=True):
        for half in "ab":
            x = conv_bn_relu(x, segmentation_filters, norm=norm_or_none, name=f"segm_stage{stage}{half}")
        if stage > stages[-1]:
            x = layers.UpSampling2D(2 ** (stage - stages[-1]), name=f"upsampling_stage{stage}")(x)
        levels.append(x)  # (n, height, width, segmentation_filters) of the shallowest level
    x = aggregate(name=f"aggregation_{pyramid_aggregation}")(levels[::-1])
    if dropout:
        x = layers.SpatialDropout2D(dropout, name="pyramid_dropout")(x)
    x = conv_bn_relu(x, segmentation_filters, norm=norm_or_none, name="final_stage")
    x = BilinearUpsampling2D(2 ** (stages[-1] - 1), name="final_upsampling")(x)
    return keras.Model(images, mask_head(x, classes, activation=activation, name="head_conv"), name="fpn")
