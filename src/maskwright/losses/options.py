"""The options that losses and metrics share: what they mean, and what cannot be given."""

import math
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import TypeAlias, TypedDict

from maskwright.errors import wrong_argument

ClassIndexes: TypeAlias = int | Sequence[int] | None
ClassWeights: TypeAlias = Sequence[float] | None
Option: TypeAlias = float | bool | list[float] | list[int] | None

NUMBERS = frozenset({"alpha", "beta", "gamma", "smooth", "factor"})
"""Options that are finite numbers from 0 up."""


class PixelOptions(TypedDict, total=False):
    """Options of every loss.

    - ``class_weights``: one weight for each (chosen) class, by which its share of the mean is multiplied.
    - ``class_indexes``: the channels that count, a number or several; all by default.
    - ``ignore``: the id of truth pixels that weigh nothing and get no gradient.
    """

    class_weights: Sequence[float] | None
    class_indexes: Sequence[int] | None
    ignore: int | None


class RegionOptions(PixelOptions, total=False):
    """Options of the losses that compare regions, beside those of every loss.

    - ``per_image``: compare image by image and take the mean, rather than the batch as one large image.
    """

    per_image: bool


def refuse_sample_weight() -> None:
    """Say what to give instead of weights for samples.

    Raises:
        WrongArgument: Always.
    """
    raise wrong_argument(
        "sample_weight",
        "...",
        expected="none, as a batch of masks is scored as a whole",
        hint="Weigh classes with class_weights=, leave pixels out with ignore=.",
    )


def checked(option: str, given: object) -> Option:
    """An option as plain numbers and lists, fit for a configuration.

    Raises:
        WrongArgument: A negative or infinite number, a repeated or negative class.
    """
    if option == "class_weights" and given is not None:
        return _checked_weights(given)
    if option == "class_indexes" and given is not None:
        return _checked_indexes(given)
    if option in NUMBERS and not _is_weight(given):
        raise wrong_argument(option, given, expected="a finite number from 0 up")
    return given  # type: ignore[return-value]


def _checked_weights(given: object) -> list[float]:
    if not isinstance(given, Iterable) or not all(_is_weight(weight) for weight in (weights := list(given))):
        raise wrong_argument("class_weights", given, expected="a finite number from 0 up for each class")
    return [float(weight) for weight in weights]


def _checked_indexes(given: object) -> list[int]:
    indexes = list(given) if isinstance(given, Iterable) else [given]
    if not all(isinstance(index, Integral) and index >= 0 for index in indexes) or not 0 < len(indexes) == len(set(indexes)):
        raise wrong_argument("class_indexes", given, expected="the numbers of one or more channels, each once")
    return [int(index) for index in indexes]


def _is_weight(given: object) -> bool:
    return isinstance(given, Real) and math.isfinite(given) and given >= 0
