"""One set of pairs to two, for training and for validation, with masks alike on both sides."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import numpy as np

from maskwright.data.label_table import BACKGROUND_WORD, IGNORED_WORD
from maskwright.data.mask_values import MaskValues
from maskwright.data.pixel_values import Value
from maskwright.errors import InputError, wrong_argument

# Where groups differ in size, so many draws are made, and that is taken which holds out nearest to the share of pairs.
_DRAWS = 32
_STRATA: Final = 10  # ranges of coverage within which further strata count


class TooFewToSplit(InputError):
    """Fewer than two pairs, or pairs that all belong together."""

    text = "The data set: found {found}; expected at least {sides} groups, one for each side. Add pairs."


def split(
    names: Sequence[str],
    coverage: Mapping[str, float],
    *,
    fraction: float,
    seed: int,
    groups: Mapping[str, str] | None = None,
    strata: Mapping[str, float] | None = None,
) -> tuple[list[str], list[str]]:
    """Names for training and names for validation, each sorted, stratified by how much of a mask its classes cover.

    The groups are sorted by coverage, cut into as many runs as the smaller side gets groups, and one of each run is
    drawn for it; of several such draws, that is taken which comes nearest to the share of names. The answer depends on
    the set of names, their coverage, groups and the seed, not on their order.

    Args:
        names: What to split; each once.
        coverage: Share of each mask that its classes cover, 0 to 1, such as `mask_coverage` gives.
        fraction: Share for validation, above 0 and below 1; rounded to whole groups, at least one a side.
        seed: Decides the draw.
        groups: Group of a name, for pairs that must stay on one side, such as identical images; a name without
            one is a group of its own.
        strata: A further number of each name, to be alike on both sides among masks of about equal coverage; names
            without one go together.

    Raises:
        TooFewToSplit: there are fewer than two groups.
        WrongArgument: ``fraction`` out of range, or a name that comes twice.

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
    share = fraction if drawn_groups == validation_groups else 1 - fraction
    draws = 1 if len(ordered) == len(names) else _DRAWS
    drawn = min(
        ({name for run in runs for name in ordered[generator.choice(run)]} for _ in range(draws)),
        key=lambda side: abs(len(side) - share * len(names)),
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
    """Names in ``number`` parts that have no name in common, each sorted, for validating on each in turn.

    The groups are sorted by coverage and dealt, ``number`` at a time, one to each part; of groups that differ in size
    the larger go to the parts that have fewer names. Arguments are those of `split`.

    Raises:
        TooFewToSplit: there are fewer groups than parts.
        WrongArgument: a name comes twice.

    >>> folds(["a", "b", "c", "d"], {"a": 0.0, "b": 0.1, "c": 0.8, "d": 0.9}, number=2, seed=1)
    [['a', 'd'], ['b', 'c']]
    """
    generator = np.random.default_rng(seed)
    ordered = _by_coverage(names, coverage, groups=groups, strata=strata, sides=number, generator=generator)
    parts: list[list[str]] = [[] for _ in range(number)]
    for first in range(0, len(ordered), number):
        by_room = sorted(generator.permutation(number), key=lambda place: len(parts[place]))
        for place, group in zip(by_room, sorted(ordered[first : first + number], key=len, reverse=True), strict=False):
            parts[place] += group
    return [sorted(part) for part in parts]


def _by_coverage(
    names: Sequence[str],
    coverage: Mapping[str, float],
    *,
    groups: Mapping[str, str] | None,
    strata: Mapping[str, float] | None,
    sides: int,
    generator: np.random.Generator,
) -> list[list[str]]:
    """The groups, those of equal coverage in random order, or by their strata; at least one for each side."""
    if len(set(names)) < len(names):
        raise wrong_argument("names", Counter(names).most_common(1)[0][0], expected="each name once")
    members: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        members[(groups or {}).get(name, name)].append(name)
    if len(members) < sides:
        found = f"{len(names)} pair{'s' * (len(names) != 1)} of {len(members)} group{'s' * (len(members) != 1)}"
        raise TooFewToSplit(found=found, sides="two" if sides == 2 else sides)
    shuffled = [list(members.values())[place] for place in generator.permutation(len(members))]

    def mean(numbers: Mapping[str, float], group: list[str]) -> float:
        return sum(numbers.get(name, -math.inf) for name in group) / len(group)

    if strata is None:
        return sorted(shuffled, key=partial(mean, coverage))
    # Nothing, and tenths of the image: the classes that the salt challenge's kernels stratified by.
    return sorted(shuffled, key=lambda group: (math.ceil(_STRATA * mean(coverage, group)), mean(strata, group)))


def mask_coverage(masks: Mapping[str, Mapping[Value, int]], mask_values: MaskValues) -> dict[str, float]:
    """Share of each mask's pixels, 0 to 1 and without the ignored, that the classes beside the background cover.

    Where no value is background, the commonest class of all masks stands in for it. A mask of ignored pixels alone
    has 0.

    Args:
        masks: Pixels of each raw value, by the name of the mask.
        mask_values: What the values stand for.

    >>> table = MaskValues(words={0: "background", 1: "cell", 255: "ignored"})
    >>> mask_coverage({"a": {0: 6, 1: 2, 255: 92}}, table)
    {'a': 0.25}
    """
    pixels = {name: mask_values.count_words(values) for name, values in masks.items()}
    total = sum(pixels.values(), start=Counter[str]())
    del total[IGNORED_WORD]
    common = (
        BACKGROUND_WORD
        if BACKGROUND_WORD in mask_values.words.values()
        else max(total, key=total.__getitem__, default="")
    )
    return {name: _share(counts, common) for name, counts in pixels.items()}


def _share(pixels: Counter[str], common: str) -> float:
    labelled = pixels.total() - pixels[IGNORED_WORD]
    return 1 - pixels[common] / labelled if labelled else 0.0
