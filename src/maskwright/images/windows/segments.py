"""Read the tiles or strips of a TIFF that overlap a window, with a cache of decoded tiles or strips."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from maskwright.images.windows.file_source import reading
from maskwright.images.windows.uncompressed import FileBytes

_JPEG: Final = (6, 7, 34892, 33007)  # compressions whose segments (strips or tiles) share decoder tables
_CACHE_BYTES: Final = 2**28  # enough for a row of blocks in a TIFF of strips, which are as wide as the image


def segment_shape(page: Any) -> tuple[int, int, int]:
    """Return the shape (rows, columns, channels) of the tiles or strips of a tifffile page."""
    rows, columns = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
    return min(rows, page.imagelength), columns, page.samplesperpixel if page.planarconfig == 1 else 1


@final
class SegmentReader:
    """A sample reader of a checked series; closing the reader closes the TIFF file.

    Each page contains one or more consecutive planes, and each plane contains its segments (strips or tiles) row by
    row.
    """

    def __init__(self, file: Path, tiff: Any, series: Any) -> None:
        page = series.keyframe
        self._file, self._tiff, self._page, self._pages = file, tiff, page, list(series.pages)
        self._rows, self._columns, self._channels_per_plane = segment_shape(page)
        self._segment_rows, self._segment_columns = (
            -(-page.imagelength // self._rows),
            -(-page.imagewidth // self._columns),
        )
        self._planes_of_page = 1 if page.planarconfig == 1 else page.samplesperpixel
        self._dtype = series.dtype
        self._bytes = FileBytes(file)
        size = self._rows * self._columns * self._channels_per_plane * self._dtype.itemsize
        self._segment = lru_cache(maxsize=max(1, _CACHE_BYTES // size))(self._decoded)

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """Return the samples (h, w, c) of a window; missing segments are filled with the nodata value or zeros.

        Raises:
            UnreadableWindow: A segment (strip or tile) cannot be read; the error states its rows and columns.
        """
        planes = len(self._pages) * self._planes_of_page
        shape = rows.stop - rows.start, columns.stop - columns.start, planes * self._channels_per_plane
        samples = np.full(shape, self._page.nodata, self._dtype)
        for plane in range(planes):
            channels = slice(plane * self._channels_per_plane, (plane + 1) * self._channels_per_plane)
            for row, window_rows, segment_rows in _overlapping(rows, self._rows):
                for column, window_columns, segment_columns in _overlapping(columns, self._columns):
                    segment = self._segment(plane, row, column)
                    if segment is not None:
                        samples[window_rows, window_columns, channels] = segment[segment_rows, segment_columns]
        return samples

    def close(self) -> None:
        """Close the file and clear the cache."""
        self._segment.cache_clear()
        self._bytes.close()
        self._tiff.close()

    def _decoded(self, plane: int, row: int, column: int) -> np.ndarray | None:
        """Return the samples (h, w, channels of a plane) of a segment (strip or tile), or None if the file omits it."""
        page = self._pages[plane // self._planes_of_page]
        index = (plane % self._planes_of_page * self._segment_rows + row) * self._segment_columns + column
        offset, count = page.dataoffsets[index], page.databytecounts[index]
        if not (offset and count):
            return None
        top, left = row * self._rows, column * self._columns
        bottom = min(top + self._rows, self._page.imagelength)
        right = min(left + self._columns, self._page.imagewidth)
        with reading(self._file, slice(top, bottom), slice(left, right)):
            tables = {}
            if self._page.compression in _JPEG:
                tables = {"jpegtables": page.jpegtables, "jpegheader": self._page.jpegheader}
            # the decoder raises an error if the segment is smaller than its part of the image
            return self._page.decode(self._bytes.read(offset, count), index, **tables)[0][0]


def _overlapping(part: slice, length: int) -> Iterator[tuple[int, slice, slice]]:
    """Yield (index, slice of the part, slice of the segment) for each segment that overlaps a part of an axis.

    >>> for overlap in _overlapping(slice(3, 9), 4):
    ...     print(overlap)
    (0, slice(0, 1, None), slice(3, 4, None))
    (1, slice(1, 5, None), slice(0, 4, None))
    (2, slice(5, 6, None), slice(0, 1, None))
    """
    for index in range(part.start // length, -(-part.stop // length)):
        start, stop = max(part.start, index * length), min(part.stop, (index + 1) * length)
        yield (
            index,
            slice(start - part.start, stop - part.start),
            slice(start - index * length, stop - index * length),
        )
