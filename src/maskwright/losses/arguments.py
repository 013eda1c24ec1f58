"""Types and checks of the arguments shared by losses and metrics, and their conversion to plain values."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from numbers import Integral, Real
from types import MappingProxyType
from typing import TypeAlias

from maskwright.errors import wrong_argument

ClassIndexes: TypeAlias = int | Sequence[int] | None
ClassWeights: TypeAlias = Sequence[float] | None
Option: TypeAlias = float | Sequence[float] | None


def check_no_sample_weight(sample_weight: object) -> None:
    """Check that no sample weights are passed.

    Raises:
        WrongArgument: ``sample_weight`` is not None.
    """
    if sample_weight is not None:
        raise wrong_argument(
            "sample_weight",
            "...",
            expected="None, because a loss or metric scores a batch of masks as a whole",
            hint="Use class_weights= to weight classes and ignore= to exclude pixels.",
        )


def check_class_weights(class_weights: object) -> list[float] | None:
    """Return the class weights as a list of floats, or None for None.

    Raises:
        WrongArgument: ``class_weights`` is not iterable, or a weight is negative or not finite.
    """
    if class_weights is None:
        return None
    if not isinstance(class_weights, Iterable):
        raise wrong_argument("class_weights", class_weights, expected="one number per class")
    return [check_non_negative("class_weights", weight) for weight in class_weights]


def check_class_indexes(class_indexes: object) -> list[int] | None:
    """Return the channel indices as a list of ints, or None for None; a single int selects one channel.

    Raises:
        WrongArgument: ``class_indexes`` is empty, or contains duplicate or negative indices.
    """
    if class_indexes is None:
        return None
    indexes = list(class_indexes) if isinstance(class_indexes, Iterable) else [class_indexes]
    channels = [int(index) for index in indexes if isinstance(index, Integral) and int(index) >= 0]
    if not 0 < len(set(channels)) == len(indexes):
        raise wrong_argument("class_indexes", class_indexes, expected="one or more distinct channel indices from 0 up")
    return channels


def check_ignore(ignore: object) -> int | None:
    """Return the label id to ignore as an int, or None for None.

    Raises:
        WrongArgument: ``ignore`` is not an integer.
    """
    if ignore is not None and not isinstance(ignore, Integral):
        raise wrong_argument("ignore", ignore, expected="the label id of the pixels to ignore, an integer")
    return None if ignore is None else int(ignore)


def check_class_count(classes: object) -> int:
    """Return the number of classes as an int.

    Raises:
        WrongArgument: ``classes`` is not a positive integer.
    """
    if not isinstance(classes, Integral) or int(classes) < 1:
        raise wrong_argument("classes", classes, expected="the number of classes including background, at least 1")
    return int(classes)


def check_non_negative(argument: str, value: object) -> float:
    """Return a finite, non-negative number as a float.

    Raises:
        WrongArgument: ``value`` is negative, not finite or not a number.
    """
    if not isinstance(value, Real) or not 0 <= float(value) < math.inf:
        raise wrong_argument(argument, value, expected="a finite number of at least 0")
    return float(value)


CHECKS: Mapping[str, Callable[[object], Option]] = MappingProxyType(
    {
        "class_weights": check_class_weights,
        "class_indexes": check_class_indexes,
        "ignore": check_ignore,
        "per_image": bool,
        "from_logits": bool,
        **{argument: partial(check_non_negative, argument) for argument in ("alpha", "beta", "gamma", "smooth")},
    }
)
"""Functions that check each argument and return the plain number, list or bool to store in a Keras configuration."""
