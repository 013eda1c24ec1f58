"""What residual networks are made of, and what those have in common that rectify after the add.

Such a network is rows of `Conv`: those of its stem, and those a function gives for each of its units.
"""

from collections.abc import Callable, Sequence
from functools import partial
from inspect import signature
from typing import Final, NamedTuple, Protocol

import keras
from keras import layers

from maskwright.errors import wrong_argument
from maskwright.networks.argument_checks import (
    ImageShape,
    are_positive_integers,
    check_classes,
    check_image_format,
    check_input_shape,
)
from maskwright.networks.blocks import Norm
from maskwright.networks.grouped_conv import GroupedConv2D

STAGE_FILTERS: Final = (64, 128, 256, 512)

Units = tuple[int, int, int, int]


class Conv(NamedTuple):
    """A convolution without bias, padded by half its size: how many filters, of what form."""

    filters: int
    size: int
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    initializer: str = "he_uniform"


def conv(x: keras.KerasTensor, row: Conv, *, name: str) -> keras.KerasTensor:
    """Append ``row``; explicit padding keeps even sides halving the same way on every backend."""
    if row.size > 1:
        x = layers.ZeroPadding2D(row.size // 2 * row.dilation, name=f"{name}_pad")(x)
    kind = layers.Conv2D if row.groups == 1 else GroupedConv2D
    convolution = kind(
        row.filters,
        row.size,
        strides=row.stride,
        dilation_rate=row.dilation,
        groups=row.groups,
        use_bias=False,
        kernel_initializer=row.initializer,
        name=name,
    )
    return convolution(x)


def relu(x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
    """Rectify."""
    return layers.Activation("relu", name=name)(x)


def conv_bns(x: keras.KerasTensor, rows: Sequence[Conv], *, norm: Norm, prefix: str) -> keras.KerasTensor:
    """Convolutions ``{prefix}conv1``, ``conv2`` ..., each normalised (``bn1``), with a ReLU (``relu1``) in between."""
    for number, row in enumerate(rows, start=1):
        if number > 1:
            x = relu(x, name=f"{prefix}relu{number - 1}")
        x = conv(x, row, name=f"{prefix}conv{number}")
        x = norm(name=f"{prefix}bn{number}")(x)
    return x


def pool(x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
    """Maxima of 3x3 pixels, every second pixel. Zeros pad as well as minus infinity where nothing is negative."""
    x = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
    return layers.MaxPooling2D(3, strides=2, name=name)(x)


def squeeze_and_excite(x: keras.KerasTensor, *, prefix: str, reduction: int = 16) -> keras.KerasTensor:
    """Scale each channel by a gate in (0, 1) that all channels' means decide."""
    channels = x.shape[-1]
    conv1x1 = partial(layers.Conv2D, kernel_size=1, kernel_initializer="he_uniform")
    gate = layers.GlobalAveragePooling2D(keepdims=True, name=f"{prefix}se_pool")(x)  # (n, 1, 1, channels)
    gate = conv1x1(channels // reduction, activation="relu", name=f"{prefix}se_reduce")(gate)
    gate = conv1x1(channels, activation="sigmoid", name=f"{prefix}se_expand")(gate)
    return layers.Multiply(name=f"{prefix}se_scale")([x, gate])


def residual_unit(
    x: keras.KerasTensor,
    rows: Sequence[Conv],
    *,
    norm: Norm,
    prefix: str,
    squeeze: bool = False,
    projection_size: int = 1,
    projection_names: tuple[str, str] = ("sc", "sc_bn"),
) -> keras.KerasTensor:
    """The convolutions of ``rows``, and the add with ``x``, which a normalised convolution projects to a new shape."""
    shortcut, filters, stride = x, rows[-1].filters, max(row.stride for row in rows)
    x = conv_bns(x, rows, norm=norm, prefix=prefix)
    if stride > 1 or shortcut.shape[-1] != filters:
        conv_name, norm_name = projection_names
        projection = Conv(filters, projection_size, stride, initializer=rows[-1].initializer)
        shortcut = conv(shortcut, projection, name=f"{prefix}{conv_name}")
        shortcut = norm(name=f"{prefix}{norm_name}")(shortcut)
    if squeeze:
        x = squeeze_and_excite(x, prefix=prefix)
    return layers.Add(name=f"{prefix}add")([x, shortcut])


class Unit(Protocol):
    """A residual unit of some network, without the ReLU after its add."""

    def __call__(self, x: keras.KerasTensor, filters: int, *, stride: int, prefix: str) -> keras.KerasTensor:
        """Append the unit to ``x``."""
        ...


def residual_stages(
    x: keras.KerasTensor, units: Units, *, unit: Unit, end: str = "stage{stage}_unit{number}_relu"
) -> keras.KerasTensor:
    """Four stages ``stage{stage}_unit{number}_``, both counted from 1, each unit with a ReLU after its add.

    All stages halve but the first, which follows a pooling. ``end`` names the last ReLU of a stage.
    """
    for stage, (filters, count) in enumerate(zip(STAGE_FILTERS, units, strict=True), start=1):
        for number in range(1, count + 1):
            prefix = f"stage{stage}_unit{number}_"
            x = unit(x, filters, stride=2 if number == 1 and stage > 1 else 1, prefix=prefix)
            x = relu(x, name=end.format(stage=stage, number=number) if number == count else f"{prefix}relu")
    return x


def classifier(
    x: keras.KerasTensor, classes: int, *, names: tuple[str, str, str], dropout: float = 0.0
) -> keras.KerasTensor:
    """Probabilities (n, classes) from the mean of every channel, by layers ``names``; computed in float32."""
    mean, scores, probabilities = names
    x = layers.GlobalAveragePooling2D(name=mean)(x)
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    x = layers.Dense(classes, name=scores)(x)
    return layers.Activation("softmax", dtype="float32", name=probabilities)(x)


def check_request(units: Units, *, input_shape: ImageShape, classes: int, argument: str = "input_shape") -> None:
    """Require four numbers of units, an image shape and a number of classes.

    ``argument`` is what the user calls ``input_shape``, for the error.

    Raises:
        WrongArgument: ``units``, ``input_shape`` or ``classes`` cannot be used.
    """
    if not are_positive_integers(units) or len(units) != len(STAGE_FILTERS):
        raise wrong_argument("units", units, expected="four integers of at least 1, one a stage")
    check_classes(classes)
    check_image_format()
    check_input_shape(input_shape, argument=argument)


def variant(title: str, build: Callable[..., keras.Model], **settled: object) -> Callable[..., keras.Model]:
    """``build`` with some arguments settled, as a function that shows the others in its signature.

    >>> def rectangle(*, height, width): return keras.Input((height, width))
    >>> Tall = variant("Tall", rectangle, height=9)
    >>> Tall(width=2).shape, str(signature(Tall))
    ((None, 9, 2), '(*, width)')
    """

    def made(**chosen: object) -> keras.Model:
        return build(**settled, **chosen)

    left = [parameter for name, parameter in signature(build).parameters.items() if name not in settled]
    values = ", ".join(f"{name}={value!r}" for name, value in settled.items())
    made.__name__ = made.__qualname__ = title
    made.__doc__ = f"`{build.__name__}` with {values}; other arguments, shapes and errors are those of that function."
    made.__dict__["__signature__"] = signature(build).replace(parameters=left)
    return made
