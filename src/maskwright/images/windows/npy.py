"""Open .npy files of shape (h, w) or (h, w, c)."""

from pathlib import Path
from typing import Final, final

import numpy as np

from maskwright.images.errors import DamagedImage, UnsupportedPixels
from maskwright.images.raw_image import decoding
from maskwright.images.windows.errors import WrongAxes
from maskwright.images.windows.file_source import FileSource, SampleReader
from maskwright.images.windows.pixels import PixelConverter, check_bounds, to_plain_raw
from maskwright.images.windows.uncompressed import UncompressedReader

_MAX_HEADER_CHARACTERS: Final = 10_000  # maximum header length that NumPy accepts


def open_npy(file: Path) -> FileSource:
    """Open an array saved by ``numpy.save``, in C or Fortran order.

    Raises:
        WrongAxes: The array does not have two or three axes.
        UnsupportedPixels: The values are not numbers (Python objects are never unpickled).
        DamagedImage, ImageTooLarge: The header is unreadable or invalid.
    """
    shape, fortran, dtype, offset = _header(file)
    if len(shape) not in (2, 3):
        raise WrongAxes(
            file=file,
            found=f"an array of shape {shape}",
            expected="shape (height, width) or (height, width, channels)",
            remedy="Save a single image, channels last.",
        )
    if dtype.kind not in "biuf":
        raise UnsupportedPixels(
            file=file, found=f"values of type {dtype}", expected="integers or floats", remedy="Convert the array."
        )
    height, width, channels = (*shape, 1)[:3]
    check_bounds(file, height=height, width=width, channels=channels)
    converter = PixelConverter(file, to_plain_raw, dtype=dtype.newbyteorder("="), channels=channels)
    if fortran:  # the first axis is innermost, so the file contains the transposed image plane by plane
        planes = UncompressedReader(file, offset=offset, shape=(channels, width, height, 1), dtype=dtype)
        return FileSource(file, _Transposed(planes), converter, height=height, width=width, block=(height, 1))
    flat = UncompressedReader(file, offset=offset, shape=(1, height, width, channels), dtype=dtype)
    return FileSource(file, flat, converter, height=height, width=width, block=(1, width))


@final
class _Transposed:
    """A sample reader that swaps rows and columns."""

    def __init__(self, samples: SampleReader) -> None:
        self._samples = samples
        self.close = samples.close

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        return self._samples.read(columns, rows).swapaxes(0, 1)


def _header(file: Path) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Return the shape, whether the array is in Fortran order, the data type and the offset of the values in bytes."""
    with file.open("rb") as stream, decoding(file):
        version = np.lib.format.read_magic(stream)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in readers:
            raise DamagedImage(
                file=file,
                found=f"a .npy file of version {version[0]}.{version[1]}",
                expected="version 1.0 or 2.0",
                remedy="Save the array again with numpy.save.",
            )
        shape, fortran, dtype = readers[version](stream, max_header_size=_MAX_HEADER_CHARACTERS)
        return shape, fortran, dtype, stream.tell()
