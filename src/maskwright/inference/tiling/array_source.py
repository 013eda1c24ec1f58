"""An image in memory that is read window by window, like a file."""

from typing import Any, final

import numpy as np
from numpy.typing import NDArray


@final
class ArraySource:
    """A source that reads windows of an array (h, w, c), all of whose pixels are valid."""

    nodata: float | None = None

    def __init__(self, pixels: NDArray[Any]) -> None:
        self._pixels = pixels
        self.height, self.width, self.channels = pixels.shape
        self.dtype = pixels.dtype
        self.block = self.height, self.width

    def read(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Return a view of the pixels (h, w, c) of a window."""
        return self._pixels[rows, columns]

    def valid(self, rows: slice, columns: slice) -> NDArray[np.bool_]:
        """Return an array (h, w) that is true for every pixel of a window."""
        return np.ones((rows.stop - rows.start, columns.stop - columns.start), np.bool_)
