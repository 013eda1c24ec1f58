"""Read contiguous uncompressed samples from NumPy and TIFF files.

Files are not memory-mapped, because the process would be killed if another program truncated a mapped file.
"""

from pathlib import Path
from threading import Lock
from typing import final

import numpy as np

from maskwright.images.errors import DamagedImage


@final
class FileBytes:
    """Thread-safe access to the bytes of an open file by offset."""

    def __init__(self, file: Path) -> None:
        self._stream, self._lock = file.open("rb", buffering=0), Lock()
        self.size = file.stat().st_size

    def read(self, offset: int, count: int) -> bytes:
        """Return ``count`` bytes, starting at ``offset``.

        Raises:
            EOFError: The file ends before the last requested byte.
        """
        with self._lock:
            self._stream.seek(offset)
            found = self._stream.read(count)
        if len(found) < count:
            raise EOFError(f"the file ends {count - len(found)} bytes early")
        return found

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


@final
class UncompressedReader:
    """A sample reader of a C-ordered array (planes, height, width, channels per plane) at ``offset``.

    Raises:
        DamagedImage: The file is too short for the array.
    """

    def __init__(self, file: Path, *, offset: int, shape: tuple[int, int, int, int], dtype: np.dtype) -> None:
        self._planes, self._height, self._width, self._channels = shape
        self._offset, self._dtype = offset, dtype
        self._bytes = FileBytes(file)
        expected = offset + self._byte_offset(self._planes, 0, 0)
        if self._bytes.size < expected:
            self.close()
            raise DamagedImage(
                file=file,
                found=f"{self._bytes.size} bytes",
                expected=f"{expected} bytes, from its header",
                remedy="The file is truncated: copy or export it again.",
            )

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """Return the samples (h, w, planes * channels per plane) of a window."""
        width = columns.stop - columns.start
        count = self._byte_offset(0, 0, width)
        lines = [
            self._bytes.read(self._offset + self._byte_offset(plane, row, columns.start), count)
            for plane in range(self._planes)
            for row in range(rows.start, rows.stop)
        ]
        samples = np.frombuffer(b"".join(lines), self._dtype)
        planes = samples.reshape(self._planes, rows.stop - rows.start, width, self._channels)
        pixels = np.moveaxis(planes, 0, 2).reshape(*planes.shape[1:3], -1)
        return np.ascontiguousarray(pixels, self._dtype.newbyteorder("="))

    def close(self) -> None:
        """Close the file."""
        self._bytes.close()

    def _byte_offset(self, plane: int, row: int, column: int) -> int:
        return ((plane * self._height + row) * self._width + column) * self._channels * self._dtype.itemsize
