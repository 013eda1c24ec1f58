"""Post-activation ResNets of torchvision, timm and segmentation_models_pytorch.

Sources: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, with the stride of a
bottleneck in its 3x3 convolution, as in torchvision and timm; Chen et al., "Rethinking Atrous Convolution", 2017, for
the dilated stage.

A layer with weights has the name of its torch module with ``_`` instead of ``.``; for example,
``layer1_0_downsample_0`` corresponds to ``layer1.0.downsample.0``. The last activations of the stem and the stages are
``relu`` and ``layer1`` to ``layer4``.
"""

from collections.abc import Mapping
from typing import Final, Protocol

import keras

from maskwright.errors import one_of, wrong_argument
from maskwright.networks.argument_checks import ImageShape
from maskwright.networks.blocks import torch_batch_norm
from maskwright.networks.residual_blocks import (
    STAGE_FILTERS,
    ConvSpec,
    Units,
    check_resnet_arguments,
    classifier,
    normalised_convs,
    pool,
    relu,
    residual_unit,
    variant,
)
from maskwright.networks.resnet import BlockName

RESNET_V1_SKIPS: Final = ("layer3", "layer2", "layer1", "relu")
LAST_STAGE: Final[Mapping[int, tuple[int, int]]] = {32: (2, 1), 16: (1, 2)}  # output stride: (stride, dilation)


class UnitConvs(Protocol):
    """Function that returns the convolutions of a unit."""

    def __call__(self, filters: int, *, stride: int, dilation: int) -> list[ConvSpec]:
        """Return the convolutions from the unit's input to its addition."""
        ...


def basic(filters: int, *, stride: int, dilation: int) -> list[ConvSpec]:
    """Return two 3x3 convolutions, the first with the unit's stride."""
    return [ConvSpec(filters, 3, stride, dilation), ConvSpec(filters, 3, 1, dilation)]


def bottleneck(filters: int, *, stride: int, dilation: int) -> list[ConvSpec]:
    """Return a 1x1, a strided 3x3 and a 1x1 convolution, the last with four times the filters."""
    return [ConvSpec(filters, 1), ConvSpec(filters, 3, stride, dilation), ConvSpec(4 * filters, 1)]


BLOCKS: Final[Mapping[str, UnitConvs]] = {"basic": basic, "bottleneck": bottleneck}


def build_resnet_v1(
    *,
    units: Units,
    block: BlockName = "basic",
    input_shape: ImageShape = (None, None, 3),
    output_stride: int = 32,
    include_top: bool = False,
    classes: int = 1000,
    name: str = "resnet_v1",
) -> keras.Model:
    """Build a post-activation ResNet of four stages with 64, 128, 256 and 512 filters.

    The input consists of images (n, height, width, channels). For published weights, they are RGB images in [0, 1]
    minus the mean (0.485, 0.456, 0.406), divided by the standard deviation (0.229, 0.224, 0.225). The output consists
    of features (n, ceil(height / output_stride), ceil(width / output_stride), 512), with four times as many channels
    for bottlenecks, or probabilities (n, classes) if ``include_top`` is true.

    Args:
        units: Numbers of residual units of the four stages, each at least 1.
        block: Type of the residual units: ``"basic"`` (two 3x3 convolutions) or ``"bottleneck"`` (1x1, 3x3, 1x1).
        input_shape: Height, width and number of channels of the images; height and width may be None.
        output_stride: Ratio of the image size to the output size, 32 or 16. With 16, the last stage has stride 1 and a
            dilation of 2 in every 3x3 convolution, including that of the first unit, as in segmentation_models_pytorch
            (torchvision does not dilate that unit).
        include_top: Whether to add global average pooling and a softmax classifier.
        classes: Number of classes of the classifier.
        name: Name of the Keras model.

    Raises:
        UnknownChoice: ``block`` is unknown.
        WrongArgument: ``units``, ``input_shape``, ``output_stride`` or ``classes`` is invalid.

    >>> encoder = build_resnet_v1(units=(1, 1, 1, 1), output_stride=16, input_shape=(64, 96, 3))
    >>> encoder.output_shape
    (None, 4, 6, 512)
    """
    unit_convs = one_of("block", block, BLOCKS)
    check_resnet_arguments(units, input_shape=input_shape, classes=classes)
    if output_stride not in LAST_STAGE:
        raise wrong_argument("output_stride", output_stride, expected="32 or 16")

    image = keras.Input(input_shape, name="data")
    x = normalised_convs(image, [ConvSpec(64, 7, stride=2)], norm=torch_batch_norm, prefix="")  # (n, h/2, w/2, 64)
    x = relu(x, name="relu")
    x = pool(x, name="maxpool")  # (n, h/4, w/4, 64)
    stage_strides = (1, 1), (2, 1), (2, 1), LAST_STAGE[output_stride]  # stride and dilation of each stage
    for stage, (filters, count, (stride, dilation)) in enumerate(
        zip(STAGE_FILTERS, units, stage_strides, strict=True), 1
    ):
        for number in range(count):
            x = residual_unit(
                x,
                unit_convs(filters, stride=stride if number == 0 else 1, dilation=dilation),
                norm=torch_batch_norm,
                prefix=f"layer{stage}_{number}_",
                projection_names=("downsample_0", "downsample_1"),
            )
            x = relu(x, name=f"layer{stage}" if number == count - 1 else f"layer{stage}_{number}_relu")
    if include_top:
        x = classifier(x, classes, names=("avgpool", "fc", "softmax"))
    return keras.Model(image, x, name=name)


ResNet18V1 = variant("ResNet18V1", build_resnet_v1, units=(2, 2, 2, 2), block="basic", name="resnet18_v1")
ResNet34V1 = variant("ResNet34V1", build_resnet_v1, units=(3, 4, 6, 3), block="basic", name="resnet34_v1")
ResNet50V1 = variant("ResNet50V1", build_resnet_v1, units=(3, 4, 6, 3), block="bottleneck", name="resnet50_v1")
ResNet101V1 = variant("ResNet101V1", build_resnet_v1, units=(3, 4, 23, 3), block="bottleneck", name="resnet101_v1")
ResNet152V1 = variant("ResNet152V1", build_resnet_v1, units=(3, 8, 36, 3), block="bottleneck", name="resnet152_v1")
