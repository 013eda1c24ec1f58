"""Argument checks shared by all network builders."""

from collections.abc import Sequence
from typing import Final, TypeGuard

import keras
import numpy as np

from maskwright.errors import wrong_argument

ImageShape = Sequence[int | None]
FEATURE_MAP_SHAPE: Final = "(n, height, width, channels)"


def is_feature_map(value: object) -> bool:
    """Return whether ``value`` is a symbolic tensor (n, height, width, channels)."""
    return isinstance(value, keras.KerasTensor) and len(value.shape) == 4


def is_positive_integer(value: object) -> bool:
    """Return whether ``value`` is a Python or NumPy integer of at least 1; booleans are excluded."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= 1)


def are_positive_integers(values: object) -> TypeGuard[Sequence[int]]:
    """Return whether ``values`` is a list or tuple, possibly empty, of integers of at least 1."""
    return isinstance(values, Sequence) and all(map(is_positive_integer, values))


def check_image_format() -> None:
    """Check that Keras is set to channels last, the only layout that the networks support.

    Raises:
        WrongArgument: ``keras.config.image_data_format()`` is not ``"channels_last"``.
    """
    if (found := keras.config.image_data_format()) != "channels_last":
        remedy = "Call keras.config.set_image_data_format('channels_last') before building."
        raise wrong_argument("image_data_format", found, expected="'channels_last'", hint=remedy)


def check_input_shape(shape: ImageShape, *, argument: str) -> None:
    """Check that a shape has the form (height, width, channels), where height and width may be None.

    Raises:
        WrongArgument: ``shape`` does not have three entries, or an entry is not a positive integer.
    """
    if isinstance(shape, Sequence) and len(shape) == 3:
        *sides, channels = shape
        if is_positive_integer(channels) and all(side is None or is_positive_integer(side) for side in sides):
            return
    expected = "(height, width, channels) as positive integers; height and width may be None"
    raise wrong_argument(argument, shape, expected=expected)


def check_static_sides(shape: ImageShape, *, minimum: int, argument: str) -> None:
    """Check that height and width are known and at least ``minimum`` pixels, as a classifier requires.

    Raises:
        WrongArgument: The height or width is None or less than ``minimum``.
    """
    if any(side is None or side < minimum for side in shape[:2]):
        expected = f"a known height and width of at least {minimum} pixels when include_top=True"
        raise wrong_argument(argument, tuple(shape), expected=expected)


def check_divisible_sides(shape: ImageShape, *, by: int) -> None:
    """Check that every known side is a multiple of ``by`` pixels, so that downsampling can be reversed.

    Raises:
        WrongArgument: A known side is not a multiple of ``by``.
    """
    if any(side is not None and side % by for side in shape[:2]):
        expected = f"a height and width that are multiples of {by} pixels, or None"
        raise wrong_argument("input_shape", tuple(shape), expected=expected)


def check_at_least_one(argument: str, value: int) -> None:
    """Check that a value is an integer of at least 1.

    Raises:
        WrongArgument: ``value`` is not a positive integer.
    """
    if not is_positive_integer(value):
        raise wrong_argument(argument, value, expected="an integer of at least 1")


def check_classes(classes: int) -> None:
    """Check that the number of classes is a positive integer.

    Raises:
        WrongArgument: ``classes`` is not a positive integer.
    """
    check_at_least_one("classes", classes)


def check_dropout(argument: str, rate: float | None) -> None:
    """Check that a dropout rate is in [0, 1) or None.

    Raises:
        WrongArgument: ``rate`` is neither a number in [0, 1) nor None.
    """
    if rate is not None and not (isinstance(rate, int | float | np.number) and 0 <= rate < 1):
        raise wrong_argument(argument, rate, expected="a number of at least 0 and below 1, or None")
