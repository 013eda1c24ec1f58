"""The tiles or strips of a TIFF: only those that a window touches are read and decoded, and the latest are kept."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from maskwright.images.windows.file_source import reading
from maskwright.images.windows.uncompressed import FileBytes

_JPEG: Final = (6, 7, 34892, 33007)  # compressions whose decoder takes tables that all segments share
_KEPT: Final = 2**28  # bytes of decoded segments: a row of blocks of strips, which are as wide as the image


def segment_shape(page: Any) -> tuple[int, int, int]:
    """(rows, columns, channels) of a tile or strip of a tifffile page."""
    rows, columns = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
    return min(rows, page.imagelength), columns, page.samplesperpixel if page.planarconfig == 1 else 1


@final
class Segments:
    """Samples of a checked series of an open tifffile, which is closed with them.

    Each page holds one plane, or several one after another; each plane holds segments row by row.
    """

    def __init__(self, file: Path, tiff: Any, series: Any) -> None:
        page = series.keyframe
        self._file, self._tiff, self._page, self._pages = file, tiff, page, list(series.pages)
        self._rows, self._columns, self._within = segment_shape(page)
        self._down, self._across = -(-page.imagelength // self._rows), -(-page.imagewidth // self._columns)
        self._planes_of_page = 1 if page.planarconfig == 1 else page.samplesperpixel
        self._dtype = series.dtype
        self._bytes = FileBytes(file)
        size = self._rows * self._columns * self._within * self._dtype.itemsize
        self._segment = lru_cache(maxsize=max(1, _KEPT // size))(self._decoded)

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """Samples (h, w, c) of a window; missing segments hold the file's missing value, or else zeros.

        Raises:
            UnreadableWindow: one of the segments; its rows and columns are given.
        """
        planes = len(self._pages) * self._planes_of_page
        shape = rows.stop - rows.start, columns.stop - columns.start, planes * self._within
        samples = np.full(shape, self._page.nodata, self._dtype)
        for plane in range(planes):
            channels = slice(plane * self._within, (plane + 1) * self._within)
            for down, in_image_down, in_segment_down in _touched(rows, self._rows):
                for across, in_image_across, in_segment_across in _touched(columns, self._columns):
                    segment = self._segment(plane, down, across)
                    if segment is not None:
                        samples[in_image_down, in_image_across, channels] = segment[in_segment_down, in_segment_across]
        return samples

    def close(self) -> None:
        """Close the file and forget the segments."""
        self._segment.cache_clear()
        self._bytes.close()
        self._tiff.close()

    def _decoded(self, plane: int, down: int, across: int) -> np.ndarray | None:
        """The samples of a segment (h, w, channels of a plane), or None where the file leaves it out."""
        page = self._pages[plane // self._planes_of_page]
        index = (plane % self._planes_of_page * self._down + down) * self._across + across
        offset, count = page.dataoffsets[index], page.databytecounts[index]
        if not (offset and count):
            return None
        top, left = down * self._rows, across * self._columns
        bottom = min(top + self._rows, self._page.imagelength)
        right = min(left + self._columns, self._page.imagewidth)
        with reading(self._file, slice(top, bottom), slice(left, right)):
            tables = {}
            if self._page.compression in _JPEG:
                tables = {"jpegtables": page.jpegtables, "jpegheader": self._page.jpegheader}
            # its sides are at least those of the part that lies in the image, or it raises
            return self._page.decode(self._bytes.read(offset, count), index, **tables)[0][0]


def _touched(part: slice, length: int) -> Iterator[tuple[int, slice, slice]]:
    """(number, where in the part, where in the segment) of each segment of ``length`` that a part of an axis touches.

    >>> for touched in _touched(slice(3, 9), 4):
    ...     print(touched)
    (0, slice(0, 1, None), slice(3, 4, None))
    (1, slice(1, 5, None), slice(0, 4, None))
    (2, slice(5, 6, None), slice(0, 1, None))
    """
    for number in range(part.start // length, -(-part.stop // length)):
        start, stop = max(part.start, number * length), min(part.stop, (number + 1) * length)
        yield (
            number,
            slice(start - part.start, stop - part.start),
            slice(start - number * length, stop - number * length),
        )
