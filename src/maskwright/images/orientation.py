"""Apply the EXIF orientation (tag 274) to images."""

from typing import Final

import numpy as np

ORIENTATION_TAG: Final = 274

# For each orientation: whether to swap the axes, to reverse the rows and to reverse the columns, in this order.
_TRANSFORMS: Final = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def valid_orientation(orientation: object) -> int:
    """Return ``orientation`` if it is from 1 to 8, otherwise 1 (upright), as image viewers do."""
    return orientation if isinstance(orientation, int) and orientation in _TRANSFORMS else 1


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Rotate and flip pixels (h, w, ...) from their EXIF orientation to upright.

    >>> upright(np.array([[1, 2, 3]]), 6).tolist()
    [[1], [2], [3]]
    """
    swap_axes, reverse_rows, reverse_columns = _TRANSFORMS[orientation]
    rotated = pixels.swapaxes(0, 1) if swap_axes else pixels
    return rotated[:: -1 if reverse_rows else 1, :: -1 if reverse_columns else 1]


def upright_size(height: int, width: int, orientation: int) -> tuple[int, int]:
    """Return the (height, width) of an image after it is rotated by `upright`."""
    return (width, height) if _TRANSFORMS[orientation][0] else (height, width)
