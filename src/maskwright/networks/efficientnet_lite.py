"""EfficientNet-Lite encoders: EfficientNet without squeeze-and-excitation, with ReLU6 instead of Swish.

Sources: Tan and Le, "EfficientNet: Rethinking model scaling for convolutional neural networks", ICML 2019; Sandler et
al., "MobileNetV2: Inverted residuals and linear bottlenecks", CVPR 2018. The networks equal `tf_efficientnet_lite0` to
`tf_efficientnet_lite4` of timm: same padding, and batch normalisation with an epsilon of 1e-3.

A layer with weights has the name of its module in timm with ``_`` instead of ``.``; for example,
``blocks_1_0_conv_pw`` corresponds to ``blocks.1.0.conv_pw``.
"""

import math
from typing import Final, NamedTuple

import keras
from keras import layers

from maskwright.errors import wrong_argument
from maskwright.networks.argument_checks import ImageShape, check_classes, check_image_format, check_input_shape
from maskwright.networks.blocks import batch_norm
from maskwright.networks.residual_blocks import classifier, variant

STEM_FILTERS: Final = 32
HEAD_FILTERS: Final = 1280
CHANNEL_MULTIPLE: Final = 8
MIN_ROUNDED_FRACTION: Final = 0.9  # rounding never removes more than a tenth of the filters
KERNEL_INITIALIZER: Final = "he_normal"


class Stage(NamedTuple):
    """Blocks of one resolution or number of filters; the first block has the stride of the stage.

    The first convolution of a block multiplies the number of channels by ``expansion``.
    """

    blocks: int
    kernel_size: int
    stride: int
    expansion: int
    filters: int


STAGES: Final = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


def build_efficientnet_lite(
    *,
    width: float = 1.0,
    depth: float = 1.0,
    input_shape: ImageShape = (None, None, 3),
    include_top: bool = False,
    classes: int = 1000,
    name: str = "efficientnetlite",
) -> keras.Model:
    """Build an EfficientNet-Lite.

    The input consists of images (n, height, width, channels). For published weights, they are RGB images with values in
    [-1, 1]. The output consists of features (n, ceil(height / 32), ceil(width / 32), filters), or probabilities (n,
    classes) if ``include_top`` is true.

    Args:
        width: Factor by which the numbers of filters of all stages are multiplied; they are rounded to multiples of 8.
        depth: Factor by which the numbers of blocks of all stages except the first and the last are multiplied; they
            are rounded up.
        input_shape: Height, width and number of channels of the images; height and width may be None.
        include_top: Whether to add the last 1x1 convolution, global average pooling and a softmax classifier.
        classes: Number of classes of the classifier.
        name: Name of the Keras model.

    Raises:
        WrongArgument: ``width``, ``depth``, ``input_shape`` or ``classes`` is invalid, or Keras is set to channels
            first.

    >>> build_efficientnet_lite(width=0.5, depth=0.5, input_shape=(64, 96, 3)).output_shape
    (None, 2, 3, 160)
    """
    for argument, factor in (("width", width), ("depth", depth)):
        if not 0 < factor < math.inf:
            raise wrong_argument(argument, factor, expected="a finite number above 0")
    check_classes(classes)
    check_image_format()
    check_input_shape(input_shape, argument="input_shape")

    image = keras.Input(input_shape, name="data")
    x = layers.Conv2D(
        STEM_FILTERS,
        3,
        strides=2,
        padding="same",
        use_bias=False,
        kernel_initializer=KERNEL_INITIALIZER,
        name="conv_stem",
    )(image)
    x = _norm_relu6(x, norm="bn1", relu="relu6")  # (n, h/2, w/2, 32)
    for number, stage in enumerate(STAGES):
        is_scaled = 0 < number < len(STAGES) - 1
        filters = scaled_filters(stage.filters, width)
        for block in range(math.ceil(stage.blocks * depth) if is_scaled else stage.blocks):
            prefix = f"blocks_{number}_{block}"
            x = _block(x, stage, filters, stride=stage.stride if block == 0 else 1, prefix=prefix)
    if include_top:
        x = _pointwise(x, HEAD_FILTERS, name="conv_head")
        x = _norm_relu6(x, norm="bn2", relu="head_relu6")
        x = classifier(x, classes, names=("global_pool", "classifier", "softmax"))
    return keras.Model(image, x, name=name)


def scaled_filters(filters: int, width: float) -> int:
    """Return ``width * filters`` rounded to a multiple of 8, at least 8 and not more than a tenth too small.

    >>> scaled_filters(40, 1.1), scaled_filters(24, 1.1), scaled_filters(16, 0.5)
    (48, 24, 8)
    """
    scaled = width * filters
    rounded = max(CHANNEL_MULTIPLE, int(scaled + CHANNEL_MULTIPLE / 2) // CHANNEL_MULTIPLE * CHANNEL_MULTIPLE)
    return rounded + CHANNEL_MULTIPLE if rounded < MIN_ROUNDED_FRACTION * scaled else rounded


def _block(x: keras.KerasTensor, stage: Stage, filters: int, *, stride: int, prefix: str) -> keras.KerasTensor:
    """Apply an inverted residual block; without expansion, it is a depthwise separable convolution."""
    shortcut = x
    norms = iter(("bn1", "bn2", "bn3"))
    if stage.expansion > 1:
        x = _pointwise(x, stage.expansion * shortcut.shape[-1], name=f"{prefix}_conv_pw")
        x = _norm_relu6(x, norm=f"{prefix}_{next(norms)}", relu=f"{prefix}_relu6_1")
    depthwise = layers.DepthwiseConv2D(
        stage.kernel_size,
        strides=stride,
        padding="same",
        use_bias=False,
        depthwise_initializer=KERNEL_INITIALIZER,
        name=f"{prefix}_conv_dw",
    )
    x = _norm_relu6(depthwise(x), norm=f"{prefix}_{next(norms)}", relu=f"{prefix}_relu6_2")
    is_residual = stride == 1 and shortcut.shape[-1] == filters
    x = _pointwise(x, filters, name=f"{prefix}_conv_pwl" if stage.expansion > 1 else f"{prefix}_conv_pw")
    norm = next(norms)
    x = batch_norm(name=f"{prefix}_{norm}")(x)
    return layers.Add(name=f"{prefix}_add")([shortcut, x]) if is_residual else x


def _pointwise(x: keras.KerasTensor, filters: int, *, name: str) -> keras.KerasTensor:
    return layers.Conv2D(filters, 1, use_bias=False, kernel_initializer=KERNEL_INITIALIZER, name=name)(x)


def _norm_relu6(x: keras.KerasTensor, *, norm: str, relu: str) -> keras.KerasTensor:
    return layers.Activation("relu6", name=relu)(batch_norm(name=norm)(x))


def efficientnet_lite_skips(depth: float) -> tuple[str, ...]:
    """Return the names of the layers at 1/16, 1/8, 1/4 and 1/2 of the image size whose outputs timm returns, too."""
    ends = {number: math.ceil(STAGES[number].blocks * depth) - 1 for number in (4, 2, 1)}
    return (*(f"blocks_{number}_{end}_add" for number, end in ends.items()), "blocks_0_0_bn2")


EfficientNetLite0 = variant(
    "EfficientNetLite0", build_efficientnet_lite, width=1.0, depth=1.0, name="efficientnetlite0"
)
EfficientNetLite1 = variant(
    "EfficientNetLite1", build_efficientnet_lite, width=1.0, depth=1.1, name="efficientnetlite1"
)
EfficientNetLite2 = variant(
    "EfficientNetLite2", build_efficientnet_lite, width=1.1, depth=1.2, name="efficientnetlite2"
)
EfficientNetLite3 = variant(
    "EfficientNetLite3", build_efficientnet_lite, width=1.2, depth=1.4, name="efficientnetlite3"
)
EfficientNetLite4 = variant(
    "EfficientNetLite4", build_efficientnet_lite, width=1.4, depth=1.8, name="efficientnetlite4"
)
