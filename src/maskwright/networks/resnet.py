"""Pre-activation ResNets: every unit normalises and rectifies before it convolves.

Sources: He et al., "Identity Mappings in Deep Residual Networks", ECCV 2016, for the order of layers;
Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018, for the SE variants.
"""

from collections.abc import Mapping
from functools import partial
from typing import Final, Literal, NamedTuple, Protocol

import keras
from keras import layers

from maskwright.errors import one_of, wrong_argument
from maskwright.networks.argument_checks import MAP, ImageShape, check_known_sides, is_map
from maskwright.networks.residual_blocks import (
    STAGE_FILTERS,
    Conv,
    Units,
    check_request,
    classifier,
    conv,
    pool,
    squeeze_and_excite,
    variant,
)

FirstUnit = Literal["identity", "projection"]
BlockName = Literal["basic", "bottleneck"]

LEAST_SIDE_WITH_TOP: Final = 197
PROJECTS_FIRST_UNIT: Final[Mapping[str, bool]] = {"identity": False, "projection": True}

batch_norm = partial(layers.BatchNormalization, momentum=0.99, epsilon=2e-5)


def bn_relu(x: keras.KerasTensor, number: int, *, prefix: str = "") -> keras.KerasTensor:
    """Batch normalisation and ReLU, the ``number``-th pair of the unit whose names start with ``prefix``."""
    return layers.Activation("relu", name=f"{prefix}relu{number}")(batch_norm(name=f"{prefix}bn{number}")(x))


class Branch(Protocol):
    """The convolutions of a unit, from its first ReLU to just before the add."""

    def __call__(self, x: keras.KerasTensor, filters: int, *, stride: int, prefix: str) -> keras.KerasTensor:
        """Append the branch to ``x``."""
        ...


def basic_branch(x: keras.KerasTensor, filters: int, *, stride: int, prefix: str) -> keras.KerasTensor:
    """Two 3x3 convolutions, the first with the unit's stride."""
    x = conv(x, Conv(filters, 3, stride), name=f"{prefix}conv1")
    return conv(bn_relu(x, 2, prefix=prefix), Conv(filters, 3), name=f"{prefix}conv2")


def bottleneck_branch(x: keras.KerasTensor, filters: int, *, stride: int, prefix: str) -> keras.KerasTensor:
    """1x1, 3x3 with the unit's stride, and 1x1 to four times the filters."""
    x = conv(x, Conv(filters, 1), name=f"{prefix}conv1")
    x = conv(bn_relu(x, 2, prefix=prefix), Conv(filters, 3, stride), name=f"{prefix}conv2")
    return conv(bn_relu(x, 3, prefix=prefix), Conv(4 * filters, 1), name=f"{prefix}conv3")


class Block(NamedTuple):
    """A kind of residual unit: its branch, and how many times wider than its filters its output is."""

    branch: Branch
    expansion: int


BLOCKS: Final[Mapping[str, Block]] = {
    "basic": Block(basic_branch, expansion=1),
    "bottleneck": Block(bottleneck_branch, expansion=4),
}


def residual_unit(
    x: keras.KerasTensor, filters: int, *, block: Block, stride: int, project: bool, squeeze: bool, prefix: str
) -> keras.KerasTensor:
    """One unit: BN and ReLU, a shortcut (projected where asked, or where the shape changes), the branch, the add."""
    shortcut, x = x, bn_relu(x, 1, prefix=prefix)
    width = filters * block.expansion
    if project or stride > 1 or shortcut.shape[-1] != width:
        # The projection reads the normalised tensor: the published weights were trained so.
        shortcut = conv(x, Conv(width, 1, stride), name=f"{prefix}sc")
    x = block.branch(x, filters, stride=stride, prefix=prefix)
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
    """A pre-activation ResNet of four stages with 64, 128, 256 and 512 filters.

    Takes images (n, height, width, channels) with values 0-255, which its first layer normalises. Returns
    probabilities (n, classes) with the top; without it features (n, ceil(height / 32), ceil(width / 32), 512),
    four times as many channels for bottlenecks.

    Args:
        units: Residual units of each stage, each at least 1.
        block: ``"basic"`` (two 3x3 convolutions) or ``"bottleneck"`` (1x1, 3x3, 1x1).
        first_unit: Shortcut of the very first unit: ``"identity"`` adds the pooled tensor itself, ``"projection"``
            a 1x1 convolution, as the published ImageNet weights expect. Bottlenecks widen, so they always project.
        squeeze_excitation: Gate the channels of each unit's branch just before its add (reduction 16).
        input_shape: Height, width and channels. With the top at least 197 pixels a side; without it sides may be None.
        input_tensor: Build on this tensor instead; the model then starts from its source inputs, and
            ``input_shape`` is not read.
        include_top: Append global average pooling and a softmax classifier.
        classes: Outputs of the top.
        name: Name of the model.

    Raises:
        UnknownChoice: ``block`` or ``first_unit`` is none of the words above.
        WrongArgument: ``units``, ``input_shape``, ``input_tensor`` or ``classes`` cannot be used.

    >>> encoder = build_resnet(units=(1, 1, 1, 1), include_top=False, input_shape=(64, 96, 3))
    >>> encoder.output_shape
    (None, 2, 3, 512)
    """
    unit = partial(residual_unit, block=one_of("block", block, BLOCKS), squeeze=squeeze_excitation)
    project_first = one_of("first_unit", first_unit, PROJECTS_FIRST_UNIT)
    if input_tensor is None:
        argument, shape = "input_shape", input_shape
    else:
        argument, shape = "input_tensor", _image_shape(input_tensor)
    check_request(units, classes=classes, input_shape=shape, argument=argument)
    if include_top:
        check_known_sides(shape, least=LEAST_SIDE_WITH_TOP, argument=argument)

    source = keras.Input(shape, name="data") if input_tensor is None else input_tensor
    x = batch_norm(scale=False, name="bn_data")(source)
    x = conv(x, Conv(64, 7, stride=2), name="conv0")  # (n, h/2, w/2, 64)
    x = bn_relu(x, 0)
    x = pool(x, name="pooling0")  # (n, h/4, w/4, 64)
    for stage, (filters, count) in enumerate(zip(STAGE_FILTERS, units, strict=True), start=1):
        for number in range(1, count + 1):
            stride = 2 if number == 1 and stage > 1 else 1  # stage 1 comes after the pooling, which has already halved
            project = project_first and stage == number == 1
            x = unit(x, filters, stride=stride, project=project, prefix=f"stage{stage}_unit{number}_")
    x = bn_relu(x, 1)  # (n, h/32, w/32, 512), or 2048 channels for bottlenecks
    if include_top:
        x = classifier(x, classes, names=("pool1", "fc1", "softmax"))
    inputs = keras.utils.get_source_inputs(source)
    return keras.Model(inputs if len(inputs) > 1 else inputs[0], x, name=name)


def _image_shape(tensor: keras.KerasTensor) -> ImageShape:
    if not is_map(tensor):
        given = tensor if isinstance(tensor, keras.KerasTensor) else type(tensor)  # an array's values say nothing
        raise wrong_argument("input_tensor", given, expected=f"a symbolic Keras tensor {MAP}")
    shape: ImageShape = tensor.shape[1:]
    return shape


_plain = partial(variant, build=build_resnet, squeeze_excitation=False)
_gated = partial(variant, build=build_resnet, squeeze_excitation=True)

ResNet18 = _plain("ResNet18", units=(2, 2, 2, 2), block="basic", name="resnet18")
ResNet34 = _plain("ResNet34", units=(3, 4, 6, 3), block="basic", name="resnet34")
ResNet50 = _plain("ResNet50", units=(3, 4, 6, 3), block="bottleneck", name="resnet50")
ResNet101 = _plain("ResNet101", units=(3, 4, 23, 3), block="bottleneck", name="resnet101")
ResNet152 = _plain("ResNet152", units=(3, 8, 36, 3), block="bottleneck", name="resnet152")
SEResNet18 = _gated("SEResNet18", units=(2, 2, 2, 2), block="basic", name="seresnet18")
SEResNet34 = _gated("SEResNet34", units=(3, 4, 6, 3), block="basic", name="seresnet34")
