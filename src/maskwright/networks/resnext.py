"""ResNeXts of image-classifiers 1.0.0: post-activation units with a grouped 3x3 convolution.

Source: Xie et al., "Aggregated Residual Transformations for Deep Neural Networks", CVPR 2017, the 32x4d networks.
Layers are named as in image-classifiers, except that the grouped convolutions, which are unnamed there, are named
``stage{s}_unit{u}_conv2``.
"""

from typing import Final

import keras

from maskwright.networks.argument_checks import ImageShape
from maskwright.networks.residual_blocks import (
    ConvSpec,
    Units,
    check_resnet_arguments,
    classifier,
    conv,
    pool,
    residual_stages,
    residual_unit,
    variant,
)
from maskwright.networks.resnet import batch_norm, bn_relu

RESNEXT_SKIPS: Final = ("stage4_unit1_relu1", "stage3_unit1_relu1", "stage2_unit1_relu1", "relu0")
GROUPS: Final = 32


def unit(x: keras.KerasTensor, filters: int, *, stride: int, prefix: str) -> keras.KerasTensor:
    """Apply a 1x1 and a grouped 3x3 convolution with ``2 * filters`` and a 1x1 one with ``4 * filters`` channels."""
    glorot = "glorot_uniform"
    # LeCun's bound equals Glorot's bound for a single group; Keras would compute the latter over all groups.
    specs = [
        ConvSpec(2 * filters, 1, initializer=glorot),
        ConvSpec(2 * filters, 3, stride, groups=GROUPS, initializer="lecun_uniform"),
        ConvSpec(4 * filters, 1, initializer=glorot),
    ]
    return residual_unit(x, specs, norm=batch_norm, prefix=prefix)


def build_resnext(
    *,
    units: Units,
    input_shape: ImageShape = (None, None, 3),
    include_top: bool = False,
    classes: int = 1000,
    name: str = "resnext",
) -> keras.Model:
    """Build a ResNeXt of four stages with 256, 512, 1024 and 2048 channels, in 32 groups.

    The input consists of images (n, height, width, channels) with values in 0-255, which the first layer normalises.
    The output consists of features (n, ceil(height / 32), ceil(width / 32), 2048), or probabilities (n, classes) if
    ``include_top`` is true.

    Args:
        units: Numbers of residual units of the four stages, each at least 1.
        input_shape: Height, width and number of channels of the images; height and width may be None.
        include_top: Whether to add global average pooling and a softmax classifier.
        classes: Number of classes of the classifier.
        name: Name of the Keras model.

    Raises:
        WrongArgument: ``units``, ``input_shape`` or ``classes`` is invalid.

    >>> build_resnext(units=(1, 1, 1, 1), input_shape=(64, 96, 3)).output_shape
    (None, 2, 3, 2048)
    """
    check_resnet_arguments(units, input_shape=input_shape, classes=classes)
    image = keras.Input(input_shape, name="data")
    x = batch_norm(scale=False, name="bn_data")(image)
    x = conv(x, ConvSpec(64, 7, stride=2, initializer="glorot_uniform"), name="conv0")  # (n, h/2, w/2, 64)
    x = bn_relu(x, 0)
    x = pool(x, name="pooling0")  # (n, h/4, w/4, 64)
    x = residual_stages(x, units, unit=unit)  # (n, h/32, w/32, 2048)
    if include_top:
        x = classifier(x, classes, names=("pool1", "fc1", "softmax"))
    return keras.Model(image, x, name=name)


ResNeXt50 = variant("ResNeXt50", build_resnext, units=(3, 4, 6, 3), name="resnext50")
ResNeXt101 = variant("ResNeXt101", build_resnext, units=(3, 4, 23, 3), name="resnext101")
