"""Layers of residual networks, and the stages of networks with a ReLU after the addition.

The stem and the units of such a network are described by lists of `ConvSpec`.
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


class ConvSpec(NamedTuple):
    """Convolution without bias, padded by half its kernel size."""

    filters: int
    size: int
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    initializer: str = "he_uniform"


def conv(x: keras.KerasTensor, spec: ConvSpec, *, name: str) -> keras.KerasTensor:
    """Apply a convolution with explicit padding, so that the result for even sides is the same on every backend."""
    if spec.size > 1:
        x = layers.ZeroPadding2D(spec.size // 2 * spec.dilation, name=f"{name}_pad")(x)
    layer_class = layers.Conv2D if spec.groups == 1 else GroupedConv2D
    convolution = layer_class(
        spec.filters,
        spec.size,
        strides=spec.stride,
        dilation_rate=spec.dilation,
        groups=spec.groups,
        use_bias=False,
        kernel_initializer=spec.initializer,
        name=name,
    )
    return convolution(x)


def relu(x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
    """Apply ReLU."""
    return layers.Activation("relu", name=name)(x)


def normalised_convs(x: keras.KerasTensor, specs: Sequence[ConvSpec], *, norm: Norm, prefix: str) -> keras.KerasTensor:
    """Apply convolutions ``{prefix}conv1``, ..., each with normalisation (``bn1``), with ReLUs (``relu1``) between."""
    for number, spec in enumerate(specs, start=1):
        if number > 1:
            x = relu(x, name=f"{prefix}relu{number - 1}")
        x = conv(x, spec, name=f"{prefix}conv{number}")
        x = norm(name=f"{prefix}bn{number}")(x)
    return x


def pool(x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
    """Apply 3x3 max pooling with stride 2 to a non-negative input, for which zero padding does not change a maximum."""
    x = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
    return layers.MaxPooling2D(3, strides=2, name=name)(x)


def squeeze_and_excite(x: keras.KerasTensor, *, prefix: str, reduction: int = 16) -> keras.KerasTensor:
    """Scale each channel by a gate in (0, 1) computed from the means of all channels."""
    channels = x.shape[-1]
    conv1x1 = partial(layers.Conv2D, kernel_size=1, kernel_initializer="he_uniform")
    gate = layers.GlobalAveragePooling2D(keepdims=True, name=f"{prefix}se_pool")(x)  # (n, 1, 1, channels)
    gate = conv1x1(channels // reduction, activation="relu", name=f"{prefix}se_reduce")(gate)
    gate = conv1x1(channels, activation="sigmoid", name=f"{prefix}se_expand")(gate)
    return layers.Multiply(name=f"{prefix}se_scale")([x, gate])


def residual_unit(
    x: keras.KerasTensor,
    specs: Sequence[ConvSpec],
    *,
    norm: Norm,
    prefix: str,
    squeeze: bool = False,
    projection_size: int = 1,
    projection_names: tuple[str, str] = ("sc", "sc_bn"),
) -> keras.KerasTensor:
    """Apply the convolutions and add ``x``, projected by a normalised convolution if the shape changes."""
    shortcut, filters, stride = x, specs[-1].filters, max(spec.stride for spec in specs)
    x = normalised_convs(x, specs, norm=norm, prefix=prefix)
    if stride > 1 or shortcut.shape[-1] != filters:
        conv_name, norm_name = projection_names
        projection = ConvSpec(filters, projection_size, stride, initializer=specs[-1].initializer)
        shortcut = conv(shortcut, projection, name=f"{prefix}{conv_name}")
        shortcut = norm(name=f"{prefix}{norm_name}")(shortcut)
    if squeeze:
        x = squeeze_and_excite(x, prefix=prefix)
    return layers.Add(name=f"{prefix}add")([x, shortcut])


class Unit(Protocol):
    """Function that applies a residual unit without the ReLU after its addition."""

    def __call__(self, x: keras.KerasTensor, filters: int, *, stride: int, prefix: str) -> keras.KerasTensor:
        """Apply the unit to ``x``."""
        ...


def residual_stages(
    x: keras.KerasTensor, units: Units, *, unit: Unit, end: str = "stage{stage}_unit{number}_relu"
) -> keras.KerasTensor:
    """Apply four stages of units ``stage{stage}_unit{number}_``, counted from 1, each with a ReLU after its addition.

    All stages except the first, which follows a pooling layer, halve the sides. ``end`` is the template for the name
    of the last ReLU in a stage.
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
    """Compute class probabilities (n, classes), float32, from the channel means, in layers with the names ``names``."""
    mean, scores, probabilities = names
    x = layers.GlobalAveragePooling2D(name=mean)(x)
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    x = layers.Dense(classes, name=scores)(x)
    return layers.Activation("softmax", dtype="float32", name=probabilities)(x)


def check_resnet_arguments(
    units: Units, *, input_shape: ImageShape, classes: int, argument: str = "input_shape"
) -> None:
    """Check the units, the input shape and the number of classes of a residual network.

    The name of ``input_shape`` in error messages is ``argument``.

    Raises:
        WrongArgument: ``units``, ``input_shape`` or ``classes`` is invalid.
    """
    if not are_positive_integers(units) or len(units) != len(STAGE_FILTERS):
        raise wrong_argument("units", units, expected="four integers of at least 1, one per stage")
    check_classes(classes)
    check_image_format()
    check_input_shape(input_shape, argument=argument)


def variant(title: str, build: Callable[..., keras.Model], **fixed: object) -> Callable[..., keras.Model]:
    """Return ``build`` with fixed arguments, as a function whose signature contains the other arguments.

    >>> def rectangle(*, height, width): return keras.Input((height, width))
    >>> Tall = variant("Tall", rectangle, height=9)
    >>> Tall(width=2).shape, str(signature(Tall))
    ((None, 9, 2), '(*, width)')
    """

    def build_variant(**options: object) -> keras.Model:
        return build(**fixed, **options)

    remaining = [parameter for name, parameter in signature(build).parameters.items() if name not in fixed]
    values = ", ".join(f"{name}={value!r}" for name, value in fixed.items())
    build_variant.__name__ = build_variant.__qualname__ = title
    build_variant.__doc__ = f"Call `{build.__name__}` with {values}; see it for other arguments and errors."
    build_variant.__dict__["__signature__"] = signature(build).replace(parameters=remaining)
    return build_variant
