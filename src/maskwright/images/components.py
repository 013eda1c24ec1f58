"""Label the connected components of masks, remove small components and fill holes."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

_BACKGROUND: Final = 0


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
    from scipy.ndimage import label  # imported here because it takes longer to import than NumPy

    indices, count = label(mask, np.ones((3, 3), int) if diagonal else None)
    return indices, np.bincount(indices.ravel(), minlength=count + 1)


def cleaned(
    labels: NDArray[np.uint8], *, min_component_sizes: Sequence[int] = (), fill_holes: bool = False
) -> NDArray[np.uint8]:
    """Fill holes and remove small components in label indices (h, w), where 0 is the background.

    A hole is a background component that does not touch the image border and is surrounded by a single class; it is
    assigned to that class. Then every component of a class with fewer pixels than ``min_component_sizes[label]``
    becomes background. Foreground pixels are connected diagonally; background pixels are not.

    >>> ring = np.array([[0, 1, 1, 1, 0, 0], [0, 1, 0, 1, 0, 1], [0, 1, 1, 1, 0, 0]], np.uint8)
    >>> cleaned(ring, min_component_sizes=[0, 2], fill_holes=True).tolist()
    [[0, 1, 1, 1, 0, 0], [0, 1, 1, 1, 0, 0], [0, 1, 1, 1, 0, 0]]
    """
    result = labels.copy()
    if fill_holes and result.any():
        _fill_holes(result)
    for label, min_size in enumerate(min_component_sizes):
        if label != _BACKGROUND and min_size > 1 and (mask := result == label).any():
            indices, sizes = components(mask, diagonal=True)
            result[mask & (sizes[indices] < min_size)] = _BACKGROUND
    return result


def _fill_holes(labels: NDArray[np.uint8]) -> None:
    indices, sizes = components(labels == _BACKGROUND, diagonal=False)
    lowest, highest = np.full(len(sizes), 255), np.zeros(len(sizes), np.int64)  # labels around each component
    horizontal = (slice(None), slice(1, None)), (slice(None), slice(None, -1))
    vertical = (slice(1, None), slice(None)), (slice(None, -1), slice(None))
    for first, second in (horizontal, vertical):
        for inside, outside in ((first, second), (second, first)):
            component, neighbour = indices[inside], labels[outside]
            boundary = (component > 0) & (neighbour != _BACKGROUND)
            np.minimum.at(lowest, component[boundary], neighbour[boundary])
            np.maximum.at(highest, component[boundary], neighbour[boundary])
    is_hole = lowest == highest
    is_hole[0] = False
    is_hole[np.concatenate([indices[0], indices[-1], indices[:, 0], indices[:, -1]])] = False
    filled = is_hole[indices]
    labels[filled] = highest[indices[filled]]
