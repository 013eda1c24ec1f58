"""Squeeze-and-excitation networks as image-classifiers 1.0.0 builds them: post-activation bottlenecks, gated.

Source: Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018, whose trained networks these are.
image-classifiers names none of their layers; here they are ``stem_conv1``, ``stem_bn1`` ... ``stem_relu`` and
``stage{s}_unit{u}_conv1``, ``_bn1``, ``_relu1`` ... ``_bn3``, ``_sc``, ``_sc_bn``, ``_se_reduce``, ``_se_expand``,
``_relu``, in the order in which it makes those with weights; the ReLUs that end stages are ``stage{s}_relu``.
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
    Conv,
    Units,
    check_request,
    classifier,
    conv_bns,
    pool,
    relu,
    residual_stages,
    residual_unit,
    variant,
)

SENET_SKIPS: Final = ("stage3_relu", "stage2_relu", "stage1_relu", "stem_relu")

batch_norm: Final[Norm] = partial(layers.BatchNormalization, epsilon=1e-5)


class Kind(NamedTuple):
    """What tells the families apart: the stem, the convolutions of a unit, the projection where a unit halves."""

    stem: list[Conv]
    rows: Callable[[int, int], list[Conv]]
    halving_projection: int = 1
    dropout: float = 0.0


def resnet_rows(filters: int, stride: int) -> list[Conv]:
    """A bottleneck with its stride in the first convolution."""
    return [Conv(filters, 1, stride), Conv(filters, 3), Conv(4 * filters, 1)]


def resnext_rows(filters: int, stride: int) -> list[Conv]:
    """A bottleneck of twice the width, its 3x3 in 32 groups."""
    return [Conv(2 * filters, 1), Conv(2 * filters, 3, stride, groups=32), Conv(4 * filters, 1)]


def senet_rows(filters: int, stride: int) -> list[Conv]:
    """A bottleneck whose 3x3 is as wide as its output, in 64 groups."""
    return [Conv(2 * filters, 1), Conv(4 * filters, 3, stride, groups=64), Conv(4 * filters, 1)]


ONE_LARGE: Final = [Conv(64, 7, stride=2)]
THREE_SMALL: Final = [Conv(64, 3, stride=2), Conv(64, 3), Conv(128, 3)]

KindName = Literal["resnet", "resnext", "senet"]
KINDS: Final[Mapping[str, Kind]] = {
    "resnet": Kind(ONE_LARGE, resnet_rows),
    "resnext": Kind(ONE_LARGE, resnext_rows),
    "senet": Kind(THREE_SMALL, senet_rows, halving_projection=3, dropout=0.2),
}


def build_senet(
    *,
    units: Units,
    kind: KindName = "resnet",
    input_shape: ImageShape = (None, None, 3),
    include_top: bool = False,
    classes: int = 1000,
    name: str = "senet",
) -> keras.Model:
    """A network of squeeze-and-excitation bottlenecks (reduction 16), 256, 512, 1024 and 2048 channels by stage.

    Takes images (n, height, width, channels); for published weights RGB in [0, 1], less the mean 0.485, 0.456, 0.406
    and divided by the standard deviation 0.229, 0.224, 0.225. Returns features
    (n, ceil(height / 32), ceil(width / 32), 2048); with the top, probabilities (n, classes).

    Args:
        units: Residual units of each stage, each at least 1.
        kind: ``"resnet"``: a 7x7 stem, strides in 1x1 convolutions; ``"resnext"``: the same stem, strides in 3x3
            convolutions of 32 groups; ``"senet"``: a stem of three 3x3, 64 groups, projections of 3x3, and dropout
            of a fifth before the classifier.
        input_shape: Height, width and channels; height and width may be None.
        include_top: Append global average pooling and a softmax classifier.
        classes: Outputs of the top.
        name: Name of the model.

    Raises:
        UnknownChoice: ``kind`` is none of the words above.
        WrongArgument: ``units``, ``input_shape`` or ``classes`` cannot be used.

    >>> build_senet(units=(1, 1, 1, 1), kind="resnext", input_shape=(64, 96, 3)).output_shape
    (None, 2, 3, 2048)
    """
    stem, rows, halving_projection, dropout = one_of("kind", kind, KINDS)
    check_request(units, input_shape=input_shape, classes=classes)

    def unit(x: keras.KerasTensor, filters: int, *, stride: int, prefix: str) -> keras.KerasTensor:
        size = halving_projection if stride > 1 else 1
        return residual_unit(
            x, rows(filters, stride), norm=batch_norm, squeeze=True, projection_size=size, prefix=prefix
        )

    image = keras.Input(input_shape, name="input")
    x = conv_bns(image, stem, norm=batch_norm, prefix="stem_")
    x = relu(x, name="stem_relu")  # (n, h/2, w/2, 64), or 128 channels for "senet"
    x = pool(x, name="stem_pool")  # (n, h/4, w/4, ...)
    x = residual_stages(x, units, unit=unit, end="stage{stage}_relu")  # (n, h/32, w/32, 2048)
    if include_top:
        x = classifier(x, classes, names=("pool1", "fc1", "output"), dropout=dropout)
    return keras.Model(image, x, name=name)


SEResNet50 = variant("SEResNet50", build_senet, units=(3, 4, 6, 3), kind="resnet", name="seresnet50")
SEResNet101 = variant("SEResNet101", build_senet, units=(3, 4, 23, 3), kind="resnet", name="seresnet101")
SEResNet152 = variant("SEResNet152", build_senet, units=(3, 8, 36, 3), kind="resnet", name="seresnet152")
SEResNeXt50 = variant("SEResNeXt50", build_senet, units=(3, 4, 6, 3), kind="resnext", name="seresnext50")
SEResNeXt101 = variant("SEResNeXt101", build_senet, units=(3, 4, 23, 3), kind="resnext", name="seresnext101")
SENet154 = variant("SENet154", build_senet, units=(3, 8, 36, 3), kind="senet", name="senet154")
