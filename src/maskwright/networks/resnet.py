"""Pre-activation ResNets: batch normalisation and ReLU before each convolution.

Sources: He et al., "Identity Mappings in Deep Residual Networks", ECCV 2016, for the order of layers;
Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018, for the SE variants.
"""

from collections.abc import Mapping
from functools import partial
from typing import Final, Literal, NamedTuple, Protocol

import keras
from keras import layers

from maskwright.errors import one_of, wrong_argument
from maskwright.networks.argument_checks import FEATURE_MAP_SHAPE, ImageShape, check_static_sides, is_feature_map
from maskwright.networks.residual_blocks import (
    STAGE_FILTERS,
    ConvSpec,
    Units,
    check_resnet_arguments,
    classifier,
    conv,
    pool,
    squeeze_and_excite,
    variant,
)

FirstUnit = Literal["identity", "projection"]
BlockName = Literal["basic", "bottleneck"]

MIN_SIDE_WITH_TOP: Final = 197
PROJECTS_FIRST_UNIT: Final[Mapping[str, bool]] = {"identity": False, "projection": True}

batch_norm = partial(layers.BatchNormalization, momentum=0.99, epsilon=2e-5)


def bn_relu(x: keras.KerasTensor, number: int, *, prefix: str = "") -> keras.KerasTensor:
    """Apply the ``number``-th batch normalisation and ReLU of a unit, whose layer names start with ``prefix``."""
    return layers.Activation("relu", name=f"{prefix}relu{number}")(batch_norm(name=f"{prefix}bn{number}")(x))


class Branch(Protocol):
    """Function that applies the convolutions of a unit, from its first ReLU to its addition."""

    def __call__(self, x: keras.KerasTensor, filters: int, *, stride: int, prefix: str) -> keras.KerasTensor:
        """Apply the branch to ``x``."""
        ...


def basic_branch(x: keras.KerasTensor, filters: int, *, stride: int, prefix: str) -> keras.KerasTensor:
    """Apply two 3x3 convolutions, the first with the unit's stride."""
    x = conv(x, ConvSpec(filters, 3, stride), name=f"{prefix}conv1")
    return conv(bn_relu(x, 2, prefix=prefix), ConvSpec(filters, 3), name=f"{prefix}conv2")


def bottleneck_branch(x: keras.KerasTensor, filters: int, *, stride: int, prefix: str) -> keras.KerasTensor:
    """Apply a 1x1, a strided 3x3 and a 1x1 convolution, the last with four times the filters."""
    x = conv(x, ConvSpec(filters, 1), name=f"{prefix}conv1")
    x = conv(bn_relu(x, 2, prefix=prefix), ConvSpec(filters, 3, stride), name=f"{prefix}conv2")
    return conv(bn_relu(x, 3, prefix=prefix), ConvSpec(4 * filters, 1), name=f"{prefix}conv3")


class UnitType(NamedTuple):
    """Branch of a residual unit, and the ratio of its number of output channels to its number of filters."""

    branch: Branch
    expansion: int


BLOCKS: Final[Mapping[str, UnitType]] = {
    "basic": UnitType(basic_branch, expansion=1),
    "bottleneck": UnitType(bottleneck_branch, expansion=4),
}


def residual_unit(
    x: keras.KerasTensor, filters: int, *, unit_type: UnitType, stride: int, project: bool, squeeze: bool, prefix: str
) -> keras.KerasTensor:
    """Apply batch normalisation, ReLU and the branch, and add the shortcut, which is projected if the shape changes."""
    shortcut, x = x, bn_relu(x, 1, prefix=prefix)
    width = filters * unit_type.expansion
    if project or stride > 1 or shortcut.shape[-1] != width:
        # The projection is applied to the normalised tensor, as in the network of the published weights.
        shortcut = conv(x, ConvSpec(width, 1, stride), name=f"{prefix}sc")
    x = unit_type.branch(x, filters, stride=stride, prefix=prefix)
    if squeeze:
        x = squeeze_and_excite(x, prefix=prefix)
    return layers.Add(name=f"{prefix}add")([x, shortcut])


def build_resnet(
    *,
    units: Units,
    block: BlockName = "basic",
    first_unit: FirstUnit = "identity",
    squeeze_excitation: bool = False,
    input_shape: ImageShape = (224, 224, 3),
    input_tensor: keras.KerasTensor | None = None,
    include_top: bool = True,
    classes: int = 1000,
    name: str = "resnet",
) -> keras.Model:
    """Build a pre-activation ResNet of four stages with 64, 128, 256 and 512 filters.

    The input consists of images (n, height, width, channels) with values in 0-255, which the first layer normalises.
    The output consists of probabilities (n, classes) if ``include_top`` is true; otherwise, it consists of features (n,
    ceil(height / 32), ceil(width / 32), 512), with four times as many channels for bottlenecks.

    Args:
        units: Numbers of residual units of the four stages, each at least 1.
        block: Type of the residual units: ``"basic"`` (two 3x3 convolutions) or ``"bottleneck"`` (1x1, 3x3, 1x1).
        first_unit: Shortcut of the first unit: ``"identity"``, or ``"projection"`` for a 1x1 convolution, as in the
            network of the published ImageNet weights. Bottleneck networks always have a projection.
        squeeze_excitation: Whether to scale the channels of each branch by squeeze-and-excitation gates, with a
            reduction of 16, before the addition.
        input_shape: Height, width and number of channels of the images. Height and width must be at least 197 pixels if
            ``include_top`` is true, and may be None otherwise.
        input_tensor: Symbolic tensor (n, height, width, channels) to build the network on. The inputs of the model are
            then the source inputs of this tensor, and ``input_shape`` is ignored.
        include_top: Whether to add global average pooling and a softmax classifier.
        classes: Number of classes of the classifier.
        name: Name of the Keras model.

    Raises:
        UnknownChoice: ``block`` or ``first_unit`` is unknown.
        WrongArgument: ``units``, ``input_shape``, ``input_tensor`` or ``classes`` is invalid.

    >>> encoder = build_resnet(units=(1, 1, 1, 1), include_top=False, input_shape=(64, 96, 3))
    >>> encoder.output_shape
    (None, 2, 3, 512)
    """
    unit = partial(residual_unit, unit_type=one_of("block", block, BLOCKS), squeeze=squeeze_excitation)
    project_first = one_of("first_unit", first_unit, PROJECTS_FIRST_UNIT)
    if input_tensor is None:
        argument, shape = "input_shape", input_shape
    else:
        argument, shape = "input_tensor", _image_shape(input_tensor)
    check_resnet_arguments(units, classes=classes, input_shape=shape, argument=argument)
    if include_top:
        check_static_sides(shape, minimum=MIN_SIDE_WITH_TOP, argument=argument)

    source = keras.Input(shape, name="data") if input_tensor is None else input_tensor
    x = batch_norm(scale=False, name="bn_data")(source)
    x = conv(x, ConvSpec(64, 7, stride=2), name="conv0")  # (n, h/2, w/2, 64)
    x = bn_relu(x, 0)
    x = pool(x, name="pooling0")  # (n, h/4, w/4, 64)
    for stage, (filters, count) in enumerate(zip(STAGE_FILTERS, units, strict=True), start=1):
        for number in range(1, count + 1):
            stride = 2 if number == 1 and stage > 1 else 1  # stage 1 follows pooling, which halves the sides
            project = project_first and stage == number == 1
            x = unit(x, filters, stride=stride, project=project, prefix=f"stage{stage}_unit{number}_")
    x = bn_relu(x, 1)  # (n, h/32, w/32, 512), or 2048 channels for bottlenecks
    if include_top:
        x = classifier(x, classes, names=("pool1", "fc1", "softmax"))
    inputs = keras.utils.get_source_inputs(source)
    return keras.Model(inputs if len(inputs) > 1 else inputs[0], x, name=name)


def _image_shape(tensor: keras.KerasTensor) -> ImageShape:
    if not is_feature_map(tensor):
        given = tensor if isinstance(tensor, keras.KerasTensor) else type(tensor)  # array values would not help
        raise wrong_argument("input_tensor", given, expected=f"a symbolic Keras tensor {FEATURE_MAP_SHAPE}")
    shape: ImageShape = tensor.shape[1:]
    return shape


_plain = partial(variant, build=build_resnet, squeeze_excitation=False)
_with_squeeze = partial(variant, build=build_resnet, squeeze_excitation=True)

ResNet18 = _plain("ResNet18", units=(2, 2, 2, 2), block="basic", name="resnet18")
ResNet34 = _plain("ResNet34", units=(3, 4, 6, 3), block="basic", name="resnet34")
ResNet50 = _plain("ResNet50", units=(3, 4, 6, 3), block="bottleneck", name="resnet50")
ResNet101 = _plain("ResNet101", units=(3, 4, 23, 3), block="bottleneck", name="resnet101")
ResNet152 = _plain("ResNet152", units=(3, 8, 36, 3), block="bottleneck", name="resnet152")
SEResNet18 = _with_squeeze("SEResNet18", units=(2, 2, 2, 2), block="basic", name="seresnet18")
SEResNet34 = _with_squeeze("SEResNet34", units=(3, 4, 6, 3), block="basic", name="seresnet34")
