"""Checks every network makes of what it is asked to be, before a layer is built."""

from collections.abc import Sequence
from typing import Final, TypeGuard

import keras
import numpy as np

from maskwright.errors import wrong_argument

ImageShape = Sequence[int | None]
MAP: Final = "(n, height, width, channels)"


def is_map(value: object) -> bool:
    """Whether ``value`` is a symbolic tensor of four axes, `MAP`."""
    return isinstance(value, keras.KerasTensor) and len(value.shape) == 4


def is_positive_integer(value: object) -> bool:
    """Whether ``value`` is a whole number of at least 1; NumPy's integers count, booleans do not."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= 1)


def are_positive_integers(values: object) -> TypeGuard[Sequence[int]]:
    """Whether ``values`` is a list or tuple, possibly empty, of whole numbers of at least 1."""
    return isinstance(values, Sequence) and all(map(is_positive_integer, values))


def check_image_format() -> None:
    """Refuse to build while Keras is set to channels first: the graphs here put channels last.

    Raises:
        WrongArgument: ``keras.config.image_data_format()`` is not ``"channels_last"``.
    """
    if (found := keras.config.image_data_format()) != "channels_last":
        remedy = "Call keras.config.set_image_data_format('channels_last') before building."
        raise wrong_argument("image_data_format", found, expected="'channels_last'", hint=remedy)


def check_input_shape(shape: ImageShape, *, argument: str) -> None:
    """Require (height, width, channels), where height and width may be None.

    Raises:
        WrongArgument: ``shape`` has another length, or a size that is not a positive integer.
    """
    if isinstance(shape, Sequence) and len(shape) == 3:
        *sides, channels = shape
        if is_positive_integer(channels) and all(side is None or is_positive_integer(side) for side in sides):
            return
    expected = "(height, width, channels), positive integers, of which height and width may be None"
    raise wrong_argument(argument, shape, expected=expected)


def check_known_sides(shape: ImageShape, *, least: int, argument: str) -> None:
    """Require a height and a width that are known and not below ``least`` pixels, as a classifier's top does.

    Raises:
        WrongArgument: height or width is None or too small.
    """
    if any(side is None or side < least for side in shape[:2]):
        expected = f"a known height and width of at least {least} pixels when include_top=True"
        raise wrong_argument(argument, tuple(shape), expected=expected)


def check_divisible_sides(shape: ImageShape, *, by: int) -> None:
    """Require that a known height or width be a multiple of ``by`` pixels, so that halvings and doublings meet.

    Raises:
        WrongArgument: a known side is not a multiple of ``by``.
    """
    if any(side is not None and side % by for side in shape[:2]):
        expected = f"a height and width that are multiples of {by} pixels, or None"
        raise wrong_argument("input_shape", tuple(shape), expected=expected)


def check_at_least_one(argument: str, value: int) -> None:
    """Require a whole number of at least 1.

    Raises:
        WrongArgument: ``value`` is not a positive integer.
    """
    if not is_positive_integer(value):
        raise wrong_argument(argument, value, expected="an integer of at least 1")


def check_classes(classes: int) -> None:
    """Require at least one class.

    Raises:
        WrongArgument: ``classes`` is not a positive integer.
    """
    check_at_least_one("classes", classes)


def check_dropout(argument: str, share: float | None) -> None:
    """Require a share of channels to drop, from 0 to below 1, or None.

    Raises:
        WrongArgument: ``share`` is something else.
    """
    if share is not None and not (isinstance(share, int | float | np.number) and 0 <= share < 1):
        raise wrong_argument(argument, share, expected="a number of at least 0 and below 1, or None")
