"""Fill holes and remove small components in the mask of an image that is read tile by tile."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from maskwright.images.components import UNKNOWN, CleanUpStep, clean_up_steps, relabelled
from maskwright.images.labels import IGNORED

Tiles = Callable[[], Iterator[NDArray[np.uint8]]]
"""Function that starts a new pass over the tiles (h, w) of an image, row by row from the top left."""


def cleaned_tiles(
    tiles: Tiles,
    *,
    size: tuple[int, int],
    tile: int,
    min_component_sizes: Sequence[int] = (),
    fill_holes: bool = False,
) -> Iterator[NDArray[np.uint8]]:
    """Yield the tiles of `maskwright.images.components.cleaned` of the whole image, without storing the whole image.

    Each of the two steps, filling holes and removing small components, needs one pass over the tiles, and yielding the
    result needs another. A pass stores a few tiles, two rows of pixels, and about 140 bytes for each component that
    crosses a border between two tiles (70 bytes for each of the two tiles).

    Args:
        tiles: Function that starts a pass over the tiles of label indices; every pass must yield the same tiles.
        size: Height and width of the image in pixels.
        tile: Side of a tile in pixels; tiles at the right and lower borders may be smaller.
        min_component_sizes: Minimum number of pixels of a component for each label index; empty to keep all.
        fill_holes: Whether holes are filled before small components are removed.

    >>> labels = np.array([[1, 1, 1, 0, 2], [1, 0, 1, 0, 0], [1, 1, 1, 0, 0]], np.uint8)
    >>> halves = lambda: iter([labels[:, :3], labels[:, 3:]])
    >>> for half in cleaned_tiles(halves, size=(3, 5), tile=3, min_component_sizes=[0, 0, 2], fill_holes=True):
    ...     print(half.tolist())
    [[1, 1, 1], [1, 1, 1], [1, 1, 1]]
    [[0, 0], [0, 0], [0, 0]]
    """
    places = partial(_places, size, tile)
    for step in clean_up_steps(min_component_sizes=min_component_sizes, fill_holes=fill_holes):
        new_labels = _labels_across_tiles(tiles, step, places)
        tiles = partial(_relabelled_tiles, tiles, step, places, new_labels)
    return tiles()


class _Place(NamedTuple):
    """The position of a tile in an image."""

    rows: slice
    columns: slice
    size: tuple[int, int]
    """Height and width of the image in pixels."""

    @property
    def is_at_bottom(self) -> bool:
        return self.rows.stop == self.size[0]

    @property
    def is_at_right(self) -> bool:
        return self.columns.stop == self.size[1]


def _places(size: tuple[int, int], tile: int) -> Iterator[_Place]:
    """Yield the position of each tile, row by row."""
    height, width = size
    for top, left in product(range(0, height, tile), range(0, width, tile)):
        yield _Place(slice(top, min(top + tile, height)), slice(left, min(left + tile, width)), size)


@final
class _EarlierPixels:
    """Numbers of the pixels along the borders of the tiles that precede a tile, and of the pixels outside the image."""

    def __init__(self, *, outside: int, dtype: type[np.signedinteger]) -> None:
        self._outside, self._dtype = outside, dtype
        self._above = self._below = self._left = np.zeros(0, dtype)

    def around(self, place: _Place) -> NDArray[np.signedinteger]:
        """Return the numbers of the pixels above a tile, from left to right, and then of those to its left.

        The pixels above a tile include those at its upper corners, so the result has the shape (w + 2 + h,).
        """
        if place.columns.start == 0:
            width, height = place.size[1], place.rows.stop - place.rows.start
            self._above = self._below if place.rows.start else np.full(width + 2, self._outside, self._dtype)
            self._below = np.full(width + 2, self._outside, self._dtype)
            self._left = np.full(height, self._outside, self._dtype)
        return np.concatenate([self._above[place.columns.start : place.columns.stop + 2], self._left])

    def add(self, place: _Place, lowest: NDArray[np.integer], rightmost: NDArray[np.integer]) -> None:
        """Add the numbers of the lowest row and the rightmost column of a tile."""
        self._below[place.columns.start + 1 : place.columns.stop + 1] = lowest
        self._left = rightmost


def _framed_tiles(tiles: Tiles, places: Callable[[], Iterator[_Place]]) -> Iterator[tuple[_Place, NDArray[np.int16]]]:
    """Yield each tile with a frame of one pixel, which is `UNKNOWN` for pixels of later tiles."""
    earlier = _EarlierPixels(outside=IGNORED, dtype=np.int16)
    for place, labels in zip(places(), tiles(), strict=True):
        height, width = labels.shape
        framed = np.full((height + 2, width + 2), UNKNOWN, np.int16)
        known = earlier.around(place)
        framed[1:-1, 1:-1], framed[0], framed[1:-1, 0] = labels, known[: width + 2], known[width + 2 :]
        if place.is_at_right:
            framed[1:-1, -1] = IGNORED
        if place.is_at_bottom:
            framed[-1, 1:-1] = IGNORED
        earlier.add(place, labels[-1], labels[:, -1])
        yield place, framed


def _shared_components(place: _Place, indices: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the indices of the components in a framed tile that may continue in other tiles, in ascending order."""
    lines = [_known_frame(indices)]
    if not place.is_at_right:
        lines.append(indices[:, -2])
    if not place.is_at_bottom:
        lines.append(indices[-2])
    found = np.unique(np.concatenate(lines))
    return found[found > 0]


def _known_frame(framed: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the pixels of the frame in the order of `_EarlierPixels.around`."""
    return np.concatenate([framed[0], framed[1:-1, 0]])


def _labels_across_tiles(tiles: Tiles, step: CleanUpStep, places: Callable[[], Iterator[_Place]]) -> NDArray[np.int16]:
    """Return the new label of each component that may continue in other tiles, tile by tile.

    These components are numbered from 1. A pixel in the frame of a tile is also in an earlier tile, so the components
    of both tiles that contain it are parts of one component.
    """
    earlier = _EarlierPixels(outside=0, dtype=np.int64)
    count = 0
    measures, pairs = [], []
    for place, framed in _framed_tiles(tiles, places):
        indices, found = step.find(framed)
        shared = _shared_components(place, indices)
        numbers = np.zeros(len(found[0]), np.int64)
        numbers[shared] = np.arange(count + 1, count + 1 + len(shared))
        count += len(shared)
        measures.append([values[shared] for values in found])
        both = np.stack([earlier.around(place), numbers[_known_frame(indices)]])
        pairs.append(np.unique(both[:, both[0] > 0], axis=1))
        earlier.add(place, numbers[indices[-2, 1:-1]], numbers[indices[1:-1, -2]])
    if not count:
        return np.zeros(0, np.int16)
    groups = _groups(count, np.concatenate(pairs, axis=1) - 1)
    order = np.argsort(groups)
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    merged = (
        merge.reduceat(np.concatenate(values)[order], starts)
        for merge, values in zip(step.merges, zip(*measures, strict=True), strict=True)
    )
    return step.decide(*merged)[groups]


def _groups(count: int, pairs: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return the number of the connected group of each of ``count`` items, given pairs (2, n) of connected items."""
    from scipy.sparse import coo_array  # imported here because it takes longer to import than NumPy
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(pairs.shape[1], bool), tuple(pairs)), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def _relabelled_tiles(
    tiles: Tiles, step: CleanUpStep, places: Callable[[], Iterator[_Place]], across_tiles: NDArray[np.int16]
) -> Iterator[NDArray[np.uint8]]:
    """Yield the tiles after a step, given the result of `_labels_across_tiles`."""
    used = 0
    for place, framed in _framed_tiles(tiles, places):
        indices, measures = step.find(framed)
        new_labels = step.decide(*measures)
        shared = _shared_components(place, indices)
        new_labels[shared] = across_tiles[used : used + len(shared)]
        used += len(shared)
        yield relabelled(framed, indices, new_labels)[1:-1, 1:-1].astype(np.uint8)
