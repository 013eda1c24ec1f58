"""The eight ways a camera may have been held, EXIF tag 274."""

from typing import Final

import numpy as np

TAG: Final = 274

# Orientation: whether rows and columns change places, then whether rows, then columns, run backwards.
_MOVES: Final = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def known(orientation: object) -> int:
    """``orientation`` if it is one of the eight, else 1: upright, as viewers take a tag that makes no sense."""
    return orientation if isinstance(orientation, int) and orientation in _MOVES else 1


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels (h, w, ...) turned and mirrored so that the top is up.

    >>> upright(np.array([[1, 2, 3]]), 6).tolist()
    [[1], [2], [3]]
    """
    swap, backward_rows, backward_columns = _MOVES[orientation]
    turned = pixels.swapaxes(0, 1) if swap else pixels
    return turned[:: -1 if backward_rows else 1, :: -1 if backward_columns else 1]


def upright_size(height: int, width: int, orientation: int) -> tuple[int, int]:
    """(height, width) of what ``upright`` returns."""
    return (width, height) if _MOVES[orientation][0] else (height, width)
