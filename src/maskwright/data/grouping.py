"""Group images of the same source so that they are not divided between training and validation.

Groups are inferred from file names, from near-duplicate images and from identical pixels.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from maskwright.data.near_duplicates import near_duplicate_pairs

# The part of a name that varies among the frames, tiles or slices of one source: a letter, or a number with or without
# a short word before it. A number requires a separator, so that file names that are hashes are not shortened.
_VARYING_SUFFIX = re.compile(r"([\W_]+[a-z]{0,8}\d+\)?|[\W_]+[a-z]|(?<=\d)[a-z])$", re.IGNORECASE)
_MAX_SUFFIXES = 3  # enough, for example, for the focus, row and column of a tile of a microscope slide
_MIN_GROUPS = 5
_MAX_GROUP_FRACTION = 0.5


@dataclass(frozen=True, slots=True)
class Groups:
    """Group of each image, by image name, and a description of the evidence, such as ``by file names``."""

    of: Mapping[str, str]
    evidence: str


def infer_groups(names: Sequence[str], *, digests: Mapping[str, str], hashes: Mapping[str, bytes | None]) -> Groups:
    """Infer from file names, perceptual hashes and pixels which images come from the same source.

    Images with identical pixels are always grouped. Evidence from names or hashes is used only if it leaves at least
    five groups, none with more than half of the images. Otherwise, the slices of one stack, or a set of similar
    images, would form a single group that cannot be split.

    Args:
        names: Unique names of the images.
        digests: Digest of the pixels of each image, by the name of the image.
        hashes: Result of `perceptual_hash` for each image, by the name of the image.
    """
    identical = _edges(_names_by_key(digests, names))
    sources = sources_from_names(names)
    by_name = [] if sources is None else _edges(_names_by_key(sources, names))
    by_hash = _near_duplicate_edges(_names_by_key(hashes, names))
    too_similar = "too many near-duplicates" if by_hash else ""
    candidates = (
        (by_name and by_hash, [*by_name, *by_hash], "by file names and near-duplicate images"),
        (by_name, by_name, "; ".join(filter(None, ("by file names", too_similar)))),
        (by_hash, by_hash, "by near-duplicate images"),
    )
    for has_evidence, edges, evidence in candidates:
        groups = _connected(names, [*identical, *edges])
        if has_evidence and _is_usable(groups):
            return Groups(groups, evidence)
    reason = too_similar or "no other groups"
    return Groups(_connected(names, identical), f"by identical pixels; {reason}")


def identical_groups(names: Sequence[str], *, digests: Mapping[str, str]) -> Groups:
    """Group only images with identical pixels; for the arguments, see `infer_groups`."""
    return Groups(_connected(names, _edges(_names_by_key(digests, names))), "by identical pixels")


def sources_from_names(names: Sequence[str]) -> dict[str, str] | None:
    """Return each name without its varying suffix (frame, tile or slice), or None if the groups are not usable.

    Up to three suffixes are removed, as long as at least five groups remain, none with more than half of the names.
    At least half of the remaining names must contain a digit, as the names of numbered sources do; names without digits
    are more likely to be class names.

    >>> names = [f"scene{scene}_tile_{row}_{column}" for scene in range(5) for row in (0, 1) for column in (0, 1)]
    >>> sorted(set(sources_from_names(names).values()))
    ['scene0_tile', 'scene1_tile', 'scene2_tile', 'scene3_tile', 'scene4_tile']
    >>> breeds = ("beagle", "boxer", "collie", "pug", "vizsla")
    >>> sources_from_names([f"{breed}_{dog}" for breed in breeds for dog in "12"])
    >>> sources_from_names(["0", "1", "2", "3", "4", "5"]) is None
    True
    """
    sources = {name: name for name in names}
    usable = None
    for _ in range(_MAX_SUFFIXES):
        sources = {name: _VARYING_SUFFIX.sub("", source) or source for name, source in sources.items()}
        if _is_usable(sources) and _are_numbered(set(sources.values())):
            usable = sources
    return usable


def _are_numbered(sources: Collection[str]) -> bool:
    return 2 * sum(bool(re.search(r"\d", source)) for source in sources) >= len(sources)


def _is_usable(groups: Mapping[str, str]) -> bool:
    sizes = Counter(groups.values())
    return _MIN_GROUPS <= len(sizes) < len(groups) and max(sizes.values()) <= _MAX_GROUP_FRACTION * len(groups)


def _names_by_key(
    keys: Mapping[str, str] | Mapping[str, bytes | None], names: Sequence[str]
) -> dict[object, list[str]]:
    """Return the names grouped by their keys; names without a key are omitted."""
    members: dict[object, list[str]] = defaultdict(list)
    for name in names:
        if (key := keys.get(name)) is not None:
            members[key].append(name)
    return members


def _edges(members: Mapping[object, list[str]]) -> list[tuple[str, str]]:
    return [edge for group in members.values() for edge in pairwise(group)]


def _near_duplicate_edges(members: Mapping[object, list[str]]) -> list[tuple[str, str]]:
    """Return edges between images with equal hashes and between images with similar hashes."""
    hashes = [key for key in members if isinstance(key, bytes)]
    if not hashes:
        return []
    representatives = [members[key][0] for key in hashes]
    table = np.frombuffer(b"".join(hashes), np.uint8).reshape(len(hashes), -1)
    similar = [(representatives[first], representatives[second]) for first, second in near_duplicate_pairs(table)]
    return _edges(members) + similar


def _connected(names: Sequence[str], edges: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the connected component of each name, identified by its first member (union-find)."""
    parent = {name: name for name in names}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = name = parent[parent[name]]
        return name

    for name, neighbour in edges:
        first, second = sorted((root(name), root(neighbour)))
        parent[second] = first
    return {name: root(name) for name in names}
