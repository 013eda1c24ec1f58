"""Images that come from one source, and so must not be learnt from and scored on: guessed from names and looks."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from maskwright.data.near_duplicates import near_pairs

Ties = Sequence[tuple[str, str]]

# What varies among the frames, tiles or parts of one source: a number with or without a short word before it, or a
# letter. A number needs something that separates it, so that names which are hashes are left alone.
_END = re.compile(r"([\W_]+[a-z]{0,8}\d+\)?|[\W_]+[a-z]|(?<=\d)[a-z])$", re.IGNORECASE)
_MOST_ENDS = 3  # such as a slide's focus, row and column
_FEWEST_GROUPS = 5
_LARGEST_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Groups:
    """The group of each name, and in words how they were told."""

    of: Mapping[str, str]
    told_by: str


def guess_groups(names: Sequence[str], *, digests: Mapping[str, str], looks: Mapping[str, bytes | None]) -> Groups:
    """Which images belong together: by their names, by their looks, and always where their pixels are equal.

    What names or looks say is taken only where it leaves five groups or more, none with more than half of the images:
    the slices of one stack, or images that all look alike, would otherwise be one group that cannot be split.

    Args:
        names: Of the images; each once.
        digests: What names the pixels of each.
        looks: What `look_of` made of each.
    """
    identical = _ties(_members(digests, names))
    sources = sources_in_names(names)
    by_name = [] if sources is None else _ties(_members(sources, names))
    by_look = _near_ties(_members(looks, names))
    too_alike = "more look alike than can be kept together" if by_look else ""
    candidates = (
        (by_name and by_look, [*by_name, *by_look], "by file names and looks"),
        (by_name, by_name, "; ".join(filter(None, ("by file names", too_alike)))),
        (by_look, by_look, "by looks"),
    )
    for told, ties, words in candidates:
        groups = _joined(names, [*identical, *ties])
        if told and _usable(groups):
            return Groups(groups, words)
    alone = too_alike or "neither names nor looks tie others"
    return Groups(_joined(names, identical), f"where their pixels are equal; {alone}")


def identical_groups(names: Sequence[str], *, digests: Mapping[str, str]) -> Groups:
    """Only images of equal pixels belong together; arguments as of `guess_groups`."""
    return Groups(_joined(names, _ties(_members(digests, names))), "where their pixels are equal")


def sources_in_names(names: Sequence[str]) -> dict[str, str] | None:
    """Each name without its varying end, the frame, tile or part; None where that makes no usable groups.

    Up to three ends are taken off, as many as leave at least five groups, none with more than half of the names. Most
    of what is left must have a number in it, as sources do that are counted: words alone are more likely classes.

    >>> names = [f"scene{scene}_tile_{row}_{column}" for scene in range(5) for row in (0, 1) for column in (0, 1)]
    >>> sorted(set(sources_in_names(names).values()))
    ['scene0_tile', 'scene1_tile', 'scene2_tile', 'scene3_tile', 'scene4_tile']
    >>> sources_in_names([f"{breed}_{dog}" for breed in ("beagle", "boxer", "collie", "pug", "vizsla") for dog in "12"])
    >>> sources_in_names(["0", "1", "2", "3", "4", "5"]) is None
    True
    """
    level = {name: name for name in names}
    usable = None
    for _ in range(_MOST_ENDS):
        level = {name: _END.sub("", source) or source for name, source in level.items()}
        if _usable(level) and _are_counted(set(level.values())):
            usable = level
    return usable


def _are_counted(sources: Collection[str]) -> bool:
    return 2 * sum(bool(re.search(r"\d", source)) for source in sources) >= len(sources)


def _usable(groups: Mapping[str, str]) -> bool:
    sizes = Counter(groups.values())
    return _FEWEST_GROUPS <= len(sizes) < len(groups) and max(sizes.values()) <= _LARGEST_SHARE * len(groups)


def _members(keys: Mapping[str, str] | Mapping[str, bytes | None], names: Sequence[str]) -> dict[object, list[str]]:
    """The names of each key; those without one are left out."""
    members: dict[object, list[str]] = defaultdict(list)
    for name in names:
        if (key := keys.get(name)) is not None:
            members[key].append(name)
    return members


def _ties(members: Mapping[object, list[str]]) -> list[tuple[str, str]]:
    return [tie for group in members.values() for tie in pairwise(group)]


def _near_ties(members: Mapping[object, list[str]]) -> list[tuple[str, str]]:
    """Ties among images of one look, and between those of near looks."""
    looks = [look for look in members if isinstance(look, bytes)]
    if not looks:
        return []
    some = [members[look][0] for look in looks]
    table = np.frombuffer(b"".join(looks), np.uint8).reshape(len(looks), -1)
    return _ties(members) + [(some[one], some[other]) for one, other in near_pairs(table)]


def _joined(names: Sequence[str], ties: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The group of each name, called after its first member, where the tied are in one group (union-find)."""
    parent = {name: name for name in names}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = name = parent[parent[name]]
        return name

    for one, other in ties:
        first, second = sorted((root(one), root(other)))
        parent[second] = first
    return {name: root(name) for name in names}
