"""Label the connected components of masks, remove small components and fill holes."""

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol, final

import numpy as np
from numpy.typing import NDArray

from maskwright.images.labels import IGNORED

UNKNOWN: Final = -1
"""Label of a pixel in the frame of a tile that is not known yet; it belongs to no component and surrounds none."""

_BACKGROUND: Final = 0


class FoundComponents(NamedTuple):
    """The components of an array of labels and the measures that decide which label each of them gets."""

    indices: NDArray[np.int32]
    """Component index of each pixel, (h, w), which starts at 1 and is 0 for pixels in no component."""
    measures: tuple[NDArray[np.integer], ...]
    """Arrays (components + 1,) with one number for each component; the numbers at index 0 have no meaning."""


class CleanUpStep(Protocol):
    """A step of the clean-up of a mask, which gives all pixels of a component the same new label."""

    merges: tuple[np.ufunc, ...]
    """For each measure, the function that merges its numbers for the parts of one component."""

    def find(self, framed: NDArray[np.int16]) -> FoundComponents:
        """Find the components of labels (h + 2, w + 2) with a frame of one pixel.

        The frame is `IGNORED` beyond the image. If the labels are a tile, the rest of the frame contains the labels of
        adjacent tiles, or `UNKNOWN`.
        """
        ...

    def decide(self, *measures: NDArray[np.integer]) -> NDArray[np.int16]:
        """Return the new label of each component, (n,), given its measures, (n,) each."""
        ...


@final
class HoleFilling:
    """Assign each hole to the class that surrounds it; the measures are the extreme labels around a component."""

    merges: tuple[np.ufunc, ...] = (np.minimum, np.maximum)

    def find(self, framed: NDArray[np.int16]) -> FoundComponents:
        """Find the components of the background and the lowest and highest label around each; see `CleanUpStep`."""
        is_background = framed == _BACKGROUND
        indices, count = _labelled(is_background, diagonal=False)
        lowest, highest = np.full(count + 1, IGNORED, np.int16), np.zeros(count + 1, np.int16)
        horizontal = np.s_[:, 1:], np.s_[:, :-1]
        vertical = np.s_[1:], np.s_[:-1]
        for first, second in (horizontal, vertical):
            boundary = np.nonzero(is_background[first] != is_background[second])
            for inside, outside in ((first, second), (second, first)):
                component, neighbour = indices[inside][boundary], framed[outside][boundary]
                known = (component > 0) & (neighbour != UNKNOWN)
                np.minimum.at(lowest, component[known], neighbour[known])
                np.maximum.at(highest, component[known], neighbour[known])
        return FoundComponents(indices, (lowest, highest))

    def decide(self, *measures: NDArray[np.integer]) -> NDArray[np.int16]:
        """Return the class around each hole and the background for other components; see `CleanUpStep`."""
        lowest, highest = measures
        is_hole = (lowest == highest) & (highest != IGNORED)
        return np.where(is_hole, highest, _BACKGROUND).astype(np.int16)


@final
class SmallComponentRemoval:
    """Remove small components of each class; the measures are the number of pixels and the label of a component."""

    merges: tuple[np.ufunc, ...] = (np.add, np.maximum)

    def __init__(self, min_component_sizes: Sequence[int]) -> None:
        self._min_sizes = np.array([0, *min_component_sizes[1:]], np.int64)

    def find(self, framed: NDArray[np.int16]) -> FoundComponents:
        """Find the components of all classes with a minimum size; see `CleanUpStep`.

        The number of pixels excludes those of the frame, which other tiles count.
        """
        indices = np.zeros(framed.shape, np.int32)
        labels = [_BACKGROUND]
        for label in np.flatnonzero(self._min_sizes > 1):
            mask = framed == label
            if mask.any():
                of_class, count = _labelled(mask, diagonal=True)
                indices[mask] = of_class[mask] + (len(labels) - 1)
                labels += [int(label)] * count
        sizes = np.bincount(indices[1:-1, 1:-1].ravel(), minlength=len(labels))
        return FoundComponents(indices, (sizes, np.array(labels, np.int16)))

    def decide(self, *measures: NDArray[np.integer]) -> NDArray[np.int16]:
        """Return the label of each component, or the background for a small component; see `CleanUpStep`."""
        sizes, labels = measures
        return np.where(sizes < self._min_sizes[labels], _BACKGROUND, labels).astype(np.int16)


def clean_up_steps(*, min_component_sizes: Sequence[int], fill_holes: bool) -> list[CleanUpStep]:
    """Return the steps of a clean-up, in order; for the arguments, see `cleaned`."""
    steps: list[CleanUpStep] = [HoleFilling()] if fill_holes else []
    if any(size > 1 for size in min_component_sizes[1:]):
        steps.append(SmallComponentRemoval(min_component_sizes))
    return steps


def cleaned(
    labels: NDArray[np.uint8], *, min_component_sizes: Sequence[int] = (), fill_holes: bool = False
) -> NDArray[np.uint8]:
    """Fill holes and remove small components in label indices (h, w), where 0 is the background.

    A hole is a background component that does not touch the image border and is surrounded by a single class; it is
    assigned to that class. Then every component of a class with fewer pixels than ``min_component_sizes[label]``
    becomes background. Foreground pixels are connected diagonally; background pixels are not. Pixels with the index
    `maskwright.images.labels.IGNORED` are unchanged and count as outside the image.

    >>> ring = np.array([[0, 1, 1, 1, 0, 0], [0, 1, 0, 1, 0, 1], [0, 1, 1, 1, 0, 0]], np.uint8)
    >>> cleaned(ring, min_component_sizes=[0, 2], fill_holes=True).tolist()
    [[0, 1, 1, 1, 0, 0], [0, 1, 1, 1, 0, 0], [0, 1, 1, 1, 0, 0]]
    """
    framed = np.pad(labels.astype(np.int16), 1, constant_values=IGNORED)
    for step in clean_up_steps(min_component_sizes=min_component_sizes, fill_holes=fill_holes):
        indices, measures = step.find(framed)
        framed = relabelled(framed, indices, step.decide(*measures))
    return framed[1:-1, 1:-1].astype(np.uint8)


def relabelled(
    labels: NDArray[np.int16], indices: NDArray[np.int32], new_labels: NDArray[np.int16]
) -> NDArray[np.int16]:
    """Return labels (h, w) in which component ``i`` has the label ``new_labels[i]``; ``indices`` are (h, w)."""
    return np.where(indices > 0, new_labels[indices], labels)


def components(mask: NDArray[np.bool_], *, diagonal: bool) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Label the connected components of the true pixels of a mask (h, w).

    Args:
        mask: Boolean array (h, w) that is true for foreground pixels.
        diagonal: Whether pixels that touch only at a corner are connected.

    Returns:
        Component index of each pixel, (h, w), which starts at 1 and is 0 where ``mask`` is false, and the number of
        pixels with each index, (components + 1,).

    >>> indices, sizes = components(np.array([[1, 0, 1], [0, 1, 0]], bool), diagonal=False)
    >>> indices.tolist(), sizes.tolist()
    ([[1, 0, 2], [0, 3, 0]], [3, 1, 1, 1])
    """
    indices, count = _labelled(mask, diagonal=diagonal)
    return indices, np.bincount(indices.ravel(), minlength=count + 1)


def _labelled(mask: NDArray[np.bool_], *, diagonal: bool) -> tuple[NDArray[np.int32], int]:
    """Return the component index of each pixel and the number of components."""
    from scipy.ndimage import label  # imported here because it takes longer to import than NumPy

    indices, count = label(mask, np.ones((3, 3), int) if diagonal else None)
    return indices, count
