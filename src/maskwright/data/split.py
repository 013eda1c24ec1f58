"""Split pairs into training and validation sets or into folds, stratified by the content of their masks."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import numpy as np

from maskwright.data.label_table import BACKGROUND_NAME, IGNORED_NAME
from maskwright.data.mask_values import MaskValues
from maskwright.data.pixel_values import Value
from maskwright.errors import InputError, wrong_argument

_DRAWS: Final = 32  # number of draws if groups differ in size; the draw closest to the requested fraction is used
_COVERAGE_BINS: Final = 10  # number of coverage bins, within which groups are ordered by their other strata


class TooFewToSplit(InputError):
    """A data set with fewer groups than there are sets into which the groups should be split."""

    text = "The data set: found {found}; expected at least {sides} groups, one for each set. Add pairs."


def split(
    names: Sequence[str],
    coverage: Mapping[str, float],
    *,
    fraction: float,
    seed: int,
    groups: Mapping[str, str] | None = None,
    strata: Mapping[str, float] | None = None,
) -> tuple[list[str], list[str]]:
    """Split names into sorted lists of training and validation names, stratified by mask coverage.

    Groups are sorted by coverage and divided into as many runs of consecutive groups as the smaller set receives
    groups, and one group of each run is drawn for that set. If group sizes differ, several draws are made, and the one
    closest to the requested fraction is used. The result depends on the names, their coverage, groups and strata, and
    the seed, but not on the order of the names.

    Args:
        names: Unique names to split.
        coverage: Fraction of each mask, 0 to 1, that is covered by classes other than background, by name; see
            `mask_coverage`.
        fraction: Fraction of names for validation, above 0 and below 1, rounded to whole groups with at least one group
            for each set.
        seed: Random seed of the draw.
        groups: Group of each name that must be in the same set as other names, such as those of identical images. Each
            remaining name forms a group of its own.
        strata: Additional number for each name, which is balanced among masks of similar coverage. Names without a
            number are placed next to each other.

    Raises:
        TooFewToSplit: There are fewer than two groups.
        WrongArgument: ``fraction`` is out of range or a name is repeated.

    >>> split(["a", "b", "c", "d"], {"a": 0.0, "b": 0.1, "c": 0.8, "d": 0.9}, fraction=0.5, seed=1)
    (['b', 'd'], ['a', 'c'])
    """
    if not 0 < fraction < 1:
        raise wrong_argument("fraction", fraction, expected="a number above 0 and below 1")
    generator = np.random.default_rng(seed)
    ordered = _by_coverage(names, coverage, groups=groups, strata=strata, sides=2, generator=generator)

    validation_groups = min(max(round(fraction * len(ordered)), 1), len(ordered) - 1)
    drawn_groups = min(validation_groups, len(ordered) - validation_groups)
    runs = np.array_split(np.arange(len(ordered)), drawn_groups)
    drawn_fraction = fraction if drawn_groups == validation_groups else 1 - fraction
    draws = 1 if len(ordered) == len(names) else _DRAWS
    drawn = min(
        ({name for run in runs for name in ordered[generator.choice(run)]} for _ in range(draws)),
        key=lambda side: abs(len(side) - drawn_fraction * len(names)),
    )
    rest = set(names) - drawn
    train, validation = (rest, drawn) if drawn_groups == validation_groups else (drawn, rest)
    return sorted(train), sorted(validation)


def folds(
    names: Sequence[str],
    coverage: Mapping[str, float],
    *,
    number: int,
    seed: int,
    groups: Mapping[str, str] | None = None,
    strata: Mapping[str, float] | None = None,
) -> list[list[str]]:
    """Divide names into ``number`` disjoint sorted folds for cross-validation.

    Groups are sorted by coverage, and every ``number`` consecutive groups are distributed over the folds, with
    larger groups assigned to the folds with fewer names. For the other arguments, see `split`.

    Raises:
        TooFewToSplit: There are fewer groups than folds.
        WrongArgument: A name is repeated.

    >>> folds(["a", "b", "c", "d"], {"a": 0.0, "b": 0.1, "c": 0.8, "d": 0.9}, number=2, seed=1)
    [['a', 'd'], ['b', 'c']]
    """
    generator = np.random.default_rng(seed)
    ordered = _by_coverage(names, coverage, groups=groups, strata=strata, sides=number, generator=generator)
    parts: list[list[str]] = [[] for _ in range(number)]
    for first in range(0, len(ordered), number):
        smallest_first = sorted(generator.permutation(number), key=lambda fold: len(parts[fold]))
        largest_first = sorted(ordered[first : first + number], key=len, reverse=True)
        for fold, group in zip(smallest_first, largest_first, strict=False):
            parts[fold] += group
    return [sorted(part) for part in parts]


def mask_coverage(masks: Mapping[str, Mapping[Value, int]], mask_values: MaskValues) -> dict[str, float]:
    """Return the fraction of the valid pixels of each mask, 0 to 1, that belong to classes other than background.

    If no value is background, the most frequent class of all masks is used instead. The coverage of a mask in which all
    pixels are ignored is 0.

    Args:
        masks: Pixel count of each raw value in each mask, by the name of the mask.
        mask_values: Label table of the masks.

    >>> table = MaskValues(classes_by_value={0: "background", 1: "cell", 255: "ignored"})
    >>> mask_coverage({"a": {0: 6, 1: 2, 255: 92}}, table)
    {'a': 0.25}
    """
    pixels = {name: mask_values.count_classes(values) for name, values in masks.items()}
    total = sum(pixels.values(), start=Counter[str]())
    del total[IGNORED_NAME]
    has_background = BACKGROUND_NAME in mask_values.classes_by_value.values()
    background = BACKGROUND_NAME if has_background else max(total, key=total.__getitem__, default="")
    return {name: _fraction_without(counts, background) for name, counts in pixels.items()}


def _by_coverage(
    names: Sequence[str],
    coverage: Mapping[str, float],
    *,
    groups: Mapping[str, str] | None,
    strata: Mapping[str, float] | None,
    sides: int,
    generator: np.random.Generator,
) -> list[list[str]]:
    """Return at least ``sides`` groups sorted by coverage, with ties in random order or sorted by strata."""
    if len(set(names)) < len(names):
        raise wrong_argument("names", Counter(names).most_common(1)[0][0], expected="each name once")
    members: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        members[(groups or {}).get(name, name)].append(name)
    if len(members) < sides:
        found = f"{len(names)} pair{'s' * (len(names) != 1)} in {len(members)} group{'s' * (len(members) != 1)}"
        raise TooFewToSplit(found=found, sides="two" if sides == 2 else sides)
    shuffled = [list(members.values())[index] for index in generator.permutation(len(members))]

    def mean(numbers: Mapping[str, float], group: list[str]) -> float:
        return sum(numbers.get(name, -math.inf) for name in group) / len(group)

    if strata is None:
        return sorted(shuffled, key=partial(mean, coverage))
    # The bins are a coverage of zero and tenths of the image area, as in Kaggle kernels for the TGS salt challenge.
    return sorted(shuffled, key=lambda group: (math.ceil(_COVERAGE_BINS * mean(coverage, group)), mean(strata, group)))


def _fraction_without(pixels: Counter[str], background: str) -> float:
    valid = pixels.total() - pixels[IGNORED_NAME]
    return 1 - pixels[background] / valid if valid else 0.0
