"""The options that losses and metrics share: what they mean, and what cannot be given."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from numbers import Integral, Real
from types import MappingProxyType
from typing import TypeAlias, TypedDict

from maskwright.errors import wrong_argument

ClassIndexes: TypeAlias = int | Sequence[int] | None
ClassWeights: TypeAlias = Sequence[float] | None
Option: TypeAlias = float | Sequence[float] | None


class ReadOptions(TypedDict, total=False):
    """Which pixels and classes count.

    - ``class_indexes``: the channels that count, a number or several; all by default.
    - ``ignore``: the id of truth pixels that weigh nothing and get no gradient.
    """

    class_indexes: Sequence[int] | None
    ignore: int | None


class PixelOptions(ReadOptions, total=False):
    """Options of every loss: `ReadOptions`, and what a class weighs.

    - ``class_weights``: one weight for each (chosen) class, by which its share of the mean is multiplied.
    """

    class_weights: Sequence[float] | None


class RegionOptions(PixelOptions, total=False):
    """Options of the losses that compare regions: `PixelOptions`, and what a region is.

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


def checked_weights(given: object) -> list[float] | None:
    """Weights of classes as a list.

    Raises:
        WrongArgument: They are not several numbers, or one is negative or infinite.
    """
    if given is None:
        return None
    if not isinstance(given, Iterable):
        raise wrong_argument("class_weights", given, expected="a number for each class")
    return [checked_number("class_weights", weight) for weight in given]


def checked_indexes(given: object) -> list[int] | None:
    """Channels as a list; a single number is one channel.

    Raises:
        WrongArgument: There is none, one twice, or one below 0.
    """
    if given is None:
        return None
    indexes = list(given) if isinstance(given, Iterable) else [given]
    channels = [int(index) for index in indexes if isinstance(index, Integral) and int(index) >= 0]
    if not 0 < len(set(channels)) == len(indexes):
        raise wrong_argument("class_indexes", given, expected="the numbers of one or more channels, each once")
    return channels


def checked_id(given: object) -> int | None:
    """The id to ignore, if any.

    Raises:
        WrongArgument: It is no whole number.
    """
    if given is not None and not isinstance(given, Integral):
        raise wrong_argument("ignore", given, expected="the id of pixels to leave out, a whole number")
    return None if given is None else int(given)


def checked_classes(given: object) -> int:
    """The number of classes.

    Raises:
        WrongArgument: It is no whole number from 1 up.
    """
    if not isinstance(given, Integral) or int(given) < 1:
        raise wrong_argument("classes", given, expected="the number of classes, background included")
    return int(given)


def checked_number(option: str, given: object) -> float:
    """A finite number from 0 up.

    Raises:
        WrongArgument: It is something else.
    """
    if not isinstance(given, Real) or not 0 <= float(given) < math.inf:
        raise wrong_argument(option, given, expected="a finite number from 0 up")
    return float(given)


CHECKS: Mapping[str, Callable[[object], Option]] = MappingProxyType(
    {
        "class_weights": checked_weights,
        "class_indexes": checked_indexes,
        "ignore": checked_id,
        "per_image": bool,
        "from_logits": bool,
        **{option: partial(checked_number, option) for option in ("alpha", "beta", "gamma", "smooth")},
    }
)
"""From any option to its value as plain numbers and lists, fit for a configuration."""
