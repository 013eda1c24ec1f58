"""Connected parts of a mask, and masks without specks and holes; NumPy only."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_BACKGROUND = 0


def components(mask: NDArray[np.bool_], *, diagonal: bool) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The connected parts of the true pixels of a mask (h, w).

    Args:
        mask: Pixels that belong to a part.
        diagonal: Whether pixels that touch at a corner are connected.

    Returns:
        The number of each pixel's part, (h, w), from 1 on and 0 where ``mask`` is false; and the pixels of each part,
        those of no part first.

    >>> parts, pixels = components(np.array([[1, 0, 1], [0, 1, 0]], bool), diagonal=False)
    >>> parts.tolist(), pixels.tolist()
    ([[1, 0, 2], [0, 3, 0]], [3, 1, 1, 1])
    """
    height, width = mask.shape
    row = width + 1  # a column of nothing between rows, so that runs end with them
    flat = np.zeros(height * row + 1, np.int8)
    flat[1:].reshape(height, row)[:, :-1] = mask
    starts, ends = np.flatnonzero(np.diff(flat, append=np.int8(0))).reshape(-1, 2).T
    numbers = _joined(len(starts), *_touching(starts, ends, row, diagonal=diagonal))
    _, numbers = np.unique(numbers, return_inverse=True)
    parts = np.zeros(height * row, np.int32)
    parts[_within(starts, ends)] = np.repeat(numbers + 1, ends - starts)
    labelled = parts.reshape(height, row)[:, :-1]
    return labelled, np.bincount(labelled.ravel(), minlength=1 + (numbers.max() + 1 if len(numbers) else 0))


def cleaned(
    labels: NDArray[np.uint8], *, min_component_sizes: Sequence[int] = (), fill_holes: bool = False
) -> NDArray[np.uint8]:
    """Label indices (h, w), 0 the background, without holes and without parts that are too small.

    A hole is background that does not reach the image's border and that one class alone surrounds; it becomes that
    class. Then every part of a class with fewer pixels than ``min_component_sizes`` has for its label becomes background.
    Pixels of a class are connected at corners too, those of the background are not.

    >>> ring = np.array([[0, 1, 1, 1, 0, 0], [0, 1, 0, 1, 0, 1], [0, 1, 1, 1, 0, 0]], np.uint8)
    >>> cleaned(ring, min_component_sizes=[0, 2], fill_holes=True).tolist()
    [[0, 1, 1, 1, 0, 0], [0, 1, 1, 1, 0, 0], [0, 1, 1, 1, 0, 0]]
    """
    clean = labels.copy()
    if fill_holes:
        _fill(clean)
    for label, least in enumerate(min_component_sizes):
        if label != _BACKGROUND and least > 1 and (mask := clean == label).any():
            parts, pixels = components(mask, diagonal=True)
            clean[mask & (pixels[parts] < least)] = _BACKGROUND
    return clean


def _touching(
    starts: NDArray[np.intp], ends: NDArray[np.intp], row: int, *, diagonal: bool
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs of runs, the second in the row below the first, that touch."""
    first = np.searchsorted(ends, starts + row, side="left" if diagonal else "right")
    last = np.searchsorted(starts, ends + row, side="right" if diagonal else "left")
    counts = np.maximum(last - first, 0)
    above = np.repeat(np.arange(len(starts)), counts)
    return above, np.repeat(first, counts) + np.arange(len(above)) - np.repeat(np.cumsum(counts) - counts, counts)


def _joined(number: int, one: NDArray[np.intp], other: NDArray[np.intp]) -> NDArray[np.intp]:
    """The least member of each one's group, where pairs tell who belongs together."""
    least = np.arange(number)
    while (least[one] != least[other]).any():
        lower = np.minimum(least[one], least[other])
        np.minimum.at(least, least[one], lower)
        np.minimum.at(least, least[other], lower)
        while (least[least] != least).any():
            least = least[least]
    return least


def _within(starts: NDArray[np.intp], ends: NDArray[np.intp]) -> NDArray[np.intp]:
    """All places from each start up to its end."""
    lengths = ends - starts
    return np.arange(lengths.sum()) + np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)


def _fill(labels: NDArray[np.uint8]) -> None:
    parts, pixels = components(labels == _BACKGROUND, diagonal=False)
    least, most = np.full(len(pixels), 255), np.zeros(len(pixels), np.int64)  # of the labels around each
    for here, there in (
        ((slice(None), slice(1, None)), (slice(None), slice(None, -1))),
        ((slice(1, None), slice(None)), (slice(None, -1), slice(None))),
    ):
        for inside, beside in ((here, there), (there, here)):
            part, label = parts[inside], labels[beside]
            border = (part > 0) & (label != _BACKGROUND)
            np.minimum.at(least, part[border], label[border])
            np.maximum.at(most, part[border], label[border])
    whole = (least == most) & (pixels > 0)
    whole[0] = False
    whole[np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))] = False
    filled = whole[parts]
    labels[filled] = most[parts[filled]]
