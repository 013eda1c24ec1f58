"""Open images in formats that can only be read as a whole."""

from pathlib import Path
from typing import final

import numpy as np

from maskwright.images.errors import ImageTooLarge
from maskwright.images.read import read_image
from maskwright.images.windows.file_source import FileSource
from maskwright.images.windows.pixels import PixelConverter, to_plain_raw


def open_whole(file: Path) -> FileSource:
    """Read an image with `read_image` and return a source that stores it in memory.

    Raises:
        ImageFault: The image cannot be read; see `read_image`.
    """
    try:
        pixels = read_image(file)
    except ImageTooLarge as error:
        remedy = "Save it as a tiled TIFF, which can be read window by window."
        raise ImageTooLarge(**{**error.fields, "remedy": remedy}) from error
    height, width, channels = pixels.shape
    converter = PixelConverter(file, to_plain_raw, dtype=pixels.dtype, channels=channels)
    return FileSource(
        file, _InMemory(pixels), converter, height=height, width=width, block=(height, width), windowed=False
    )


@final
class _InMemory:
    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels = pixels

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        return self._pixels[rows, columns].copy()

    def close(self) -> None:
        self._pixels = self._pixels[:0]
