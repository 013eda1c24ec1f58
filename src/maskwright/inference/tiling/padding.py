"""Pad windows to a multiple that the network accepts, by reflection at the lower and right borders of the image."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.images.coord_channels import ramp


def reflect_to_window(inside: NDArray[Any], rows: slice, columns: slice) -> NDArray[Any]:
    """Reflect an array (h, w, ...) at its lower and right borders up to the size of the window."""
    below, right = rows.stop - rows.start - inside.shape[0], columns.stop - columns.start - inside.shape[1]
    widths = ((0, below), (0, right), *((0, 0) for _ in inside.shape[2:]))
    return np.pad(inside, widths, mode="reflect") if below or right else inside


def padded_coordinates(length: int, span: slice) -> NDArray[np.float32]:
    """Return the coordinates of the rows or columns of a window, from -1 to 1 in the image and reflected beyond it."""
    return np.pad(ramp(length), (0, max(0, span.stop - length)), mode="reflect")[span]
