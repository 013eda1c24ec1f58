"""Squeeze-and-excitation networks of image-classifiers 1.0.0: post-activation bottlenecks with channel gates.

Source: Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018, with its published weights.
The layers are unnamed in image-classifiers. In this package, their names are ``stem_conv1``, ``stem_bn1`` ...
``stem_relu`` and ``stage{s}_unit{u}_conv1``, ``_bn1``, ``_relu1`` ... ``_bn3``, ``_sc``, ``_sc_bn``, ``_se_reduce``,
``_se_expand``, ``_relu``, in the order of the weights in image-classifiers. The last ReLU of a stage is
``stage{s}_relu``.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Literal, NamedTuple

import keras
from keras import layers

from maskwright.errors import one_of
from maskwright.networks.argument_checks import ImageShape
from maskwright.networks.blocks import Norm
from maskwright.networks.residual_blocks import (
    ConvSpec,
    Units,
    check_resnet_arguments,
    classifier,
    normalised_convs,
    pool,
    relu,
    residual_stages,
    residual_unit,
    variant,
)

SENET_SKIPS: Final = ("stage3_relu", "stage2_relu", "stage1_relu", "stem_relu")

batch_norm: Final[Norm] = partial(layers.BatchNormalization, epsilon=1e-5)


class Family(NamedTuple):
    """Stem, convolutions of a unit, projection size of a strided unit, and dropout rate of a family of networks."""

    stem: list[ConvSpec]
    unit_convs: Callable[[int, int], list[ConvSpec]]
    halving_projection: int = 1
    dropout: float = 0.0


def resnet_convs(filters: int, stride: int) -> list[ConvSpec]:
    """Return the convolutions of a bottleneck with its stride in the first convolution."""
    return [ConvSpec(filters, 1, stride), ConvSpec(filters, 3), ConvSpec(4 * filters, 1)]


def resnext_convs(filters: int, stride: int) -> list[ConvSpec]:
    """Return the convolutions of a bottleneck of twice the width with a 3x3 convolution in 32 groups."""
    return [ConvSpec(2 * filters, 1), ConvSpec(2 * filters, 3, stride, groups=32), ConvSpec(4 * filters, 1)]


def senet_convs(filters: int, stride: int) -> list[ConvSpec]:
    """Return the convolutions of a bottleneck whose 3x3 convolution has 64 groups and is as wide as the output."""
    return [ConvSpec(2 * filters, 1), ConvSpec(4 * filters, 3, stride, groups=64), ConvSpec(4 * filters, 1)]


STEM_7X7: Final = [ConvSpec(64, 7, stride=2)]
STEM_THREE_3X3: Final = [ConvSpec(64, 3, stride=2), ConvSpec(64, 3), ConvSpec(128, 3)]

FamilyName = Literal["resnet", "resnext", "senet"]
FAMILIES: Final[Mapping[str, Family]] = {
    "resnet": Family(STEM_7X7, resnet_convs),
    "resnext": Family(STEM_7X7, resnext_convs),
    "senet": Family(STEM_THREE_3X3, senet_convs, halving_projection=3, dropout=0.2),
}


def build_senet(
    *,
    units: Units,
    family: FamilyName = "resnet",
    input_shape: ImageShape = (None, None, 3),
    include_top: bool = False,
    classes: int = 1000,
    name: str = "senet",
) -> keras.Model:
    """Build a network of squeeze-and-excitation bottlenecks (reduction 16) with 256, 512, 1024 and 2048 channels.

    The input consists of images (n, height, width, channels). For published weights, they are RGB images in [0, 1]
    minus the mean (0.485, 0.456, 0.406), divided by the standard deviation (0.229, 0.224, 0.225). The output consists
    of features (n, ceil(height / 32), ceil(width / 32), 2048), or probabilities (n, classes) if ``include_top`` is
    true.

    Args:
        units: Numbers of residual units of the four stages, each at least 1.
        family: Family of the network. ``"resnet"`` has a 7x7 stem and strides in 1x1 convolutions. ``"resnext"`` has
            the same stem and strides in 3x3 convolutions with 32 groups. ``"senet"`` has a stem of three 3x3
            convolutions, 64 groups, 3x3 projections, and a dropout of 0.2 before the classifier.
        input_shape: Height, width and number of channels of the images; height and width may be None.
        include_top: Whether to add global average pooling and a softmax classifier.
        classes: Number of classes of the classifier.
        name: Name of the Keras model.

    Raises:
        UnknownChoice: ``family`` is unknown.
        WrongArgument: ``units``, ``input_shape`` or ``classes`` is invalid.

    >>> build_senet(units=(1, 1, 1, 1), family="resnext", input_shape=(64, 96, 3)).output_shape
    (None, 2, 3, 2048)
    """
    stem, unit_convs, halving_projection, dropout = one_of("family", family, FAMILIES)
    check_resnet_arguments(units, input_shape=input_shape, classes=classes)

    def unit(x: keras.KerasTensor, filters: int, *, stride: int, prefix: str) -> keras.KerasTensor:
        size = halving_projection if stride > 1 else 1
        return residual_unit(
            x, unit_convs(filters, stride), norm=batch_norm, squeeze=True, projection_size=size, prefix=prefix
        )

    image = keras.Input(input_shape, name="input")
    x = normalised_convs(image, stem, norm=batch_norm, prefix="stem_")
    x = relu(x, name="stem_relu")  # (n, h/2, w/2, 64), or 128 channels for "senet"
    x = pool(x, name="stem_pool")  # (n, h/4, w/4, ...)
    x = residual_stages(x, units, unit=unit, end="stage{stage}_relu")  # (n, h/32, w/32, 2048)
    if include_top:
        x = classifier(x, classes, names=("pool1", "fc1", "output"), dropout=dropout)
    return keras.Model(image, x, name=name)


SEResNet50 = variant("SEResNet50", build_senet, units=(3, 4, 6, 3), family="resnet", name="seresnet50")
SEResNet101 = variant("SEResNet101", build_senet, units=(3, 4, 23, 3), family="resnet", name="seresnet101")
SEResNet152 = variant("SEResNet152", build_senet, units=(3, 8, 36, 3), family="resnet", name="seresnet152")
SEResNeXt50 = variant("SEResNeXt50", build_senet, units=(3, 4, 6, 3), family="resnext", name="seresnext50")
SEResNeXt101 = variant("SEResNeXt101", build_senet, units=(3, 4, 23, 3), family="resnext", name="seresnext101")
SENet154 = variant("SENet154", build_senet, units=(3, 8, 36, 3), family="senet", name="senet154")
