"""Formats that give only whole images: all of it is read at once and kept."""

from pathlib import Path
from typing import final

import numpy as np

from maskwright.images.errors import ImageTooLarge
from maskwright.images.read import read_image
from maskwright.images.windows.file_source import FileSource
from maskwright.images.windows.pixels import Interpreter, plain


def open_whole(file: Path) -> FileSource:
    """What `read_image` reads, kept in memory.

    Raises:
        ImageFault: as `read_image` does.
    """
    try:
        pixels = read_image(file)
    except ImageTooLarge as error:
        remedy = "Save it as a tiled TIFF, which is read window by window."
        raise ImageTooLarge(**{**error.fields, "remedy": remedy}) from error
    height, width, channels = pixels.shape
    interpreter = Interpreter(file, plain, dtype=pixels.dtype, channels=channels)
    return FileSource(
        file, _Kept(pixels), interpreter, height=height, width=width, block=(height, width), windowed=False
    )


@final
class _Kept:
    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels = pixels

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        return self._pixels[rows, columns].copy()

    def close(self) -> None:
        self._pixels = self._pixels[:0]
