"""Divide held-out images into a half on which values are chosen, and a half on which the choice is checked."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from maskwright.data.grouping import sources_from_names
from maskwright.training.run import Run

MIN_IMAGES: Final = 4
"""Smallest number of held-out images for tuning, two in each half."""


class Halves(NamedTuple):
    """Indices of the images on which values are chosen, and of those on which the choice is checked."""

    selection: tuple[int, ...]
    check: tuple[int, ...]


class HalfScores(NamedTuple):
    """Scores, or differences of scores, of the selection half and the check half."""

    selection: float
    check: float

    def over(self, other: "HalfScores") -> "HalfScores":
        """Return the increase over other scores."""
        return HalfScores(self.selection - other.selection, self.check - other.check)

    def both_above(self, limit: float) -> bool:
        """Return whether both numbers are above ``limit``."""
        return self.selection > limit and self.check > limit


def split_into_halves(names: Mapping[int, str], groups: Mapping[str, str]) -> Halves:
    """Divide at least `MIN_IMAGES` images into two halves, by every second name in alphabetical order.

    All images of a group are in the same half: in the order of their first names, each group is added to the half with
    fewer images. If this leaves fewer than two images in a half, the groups are not used.

    Args:
        names: Name of each image, by its index.
        groups: Group of each image, such as the frames of one video, by name. Each other image is a group of its own.

    >>> split_into_halves({0: "d", 1: "a", 2: "c", 3: "b"}, {})
    Halves(selection=(1, 2), check=(3, 0))
    >>> split_into_halves({0: "a1", 1: "a2", 2: "b1", 3: "b2"}, {"a1": "a", "a2": "a", "b1": "b", "b2": "b"})
    Halves(selection=(0, 1), check=(2, 3))
    """
    members: dict[tuple[str, str], list[int]] = {}
    for index in sorted(names, key=lambda index: (names[index], index)):
        name = names[index]
        key = ("group", groups[name]) if name in groups else ("image", f"{name} {index}")
        members.setdefault(key, []).append(index)
    halves: tuple[list[int], list[int]] = ([], [])
    for group in members.values():
        halves[len(halves[0]) > len(halves[1])].extend(group)
    if groups and min(map(len, halves)) < MIN_IMAGES // 2:
        return split_into_halves(names, {})
    return Halves(tuple(halves[0]), tuple(halves[1]))


def frame_groups(runs: Sequence[Run]) -> dict[str, str]:
    """Return the source of each image of the runs, by the name of the image, if file names indicate sources.

    Without such names, or if the recipe of the first run groups only identical images, the result is empty.
    """
    if runs[0].read_recipe().data.grouping == "duplicates":
        return {}
    names = {pair.name for run in runs for side in run.read_split().values() for pair in side}
    return sources_from_names(sorted(names)) or {}
