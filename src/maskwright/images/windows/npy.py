"""NumPy's .npy files: (h, w) or (h, w, c)."""

from pathlib import Path
from typing import Final, final

import numpy as np

from maskwright.images.errors import DamagedImage, UnsupportedPixels
from maskwright.images.samples import decoding
from maskwright.images.windows.errors import WrongAxes
from maskwright.images.windows.file_source import FileSource, Samples
from maskwright.images.windows.pixels import Interpreter, check_bounds, plain
from maskwright.images.windows.uncompressed import Flat

_LONGEST_HEADER: Final = 10_000  # characters; NumPy's own bound


def open_npy(file: Path) -> FileSource:
    """An array saved by ``numpy.save``, in C or Fortran order.

    Raises:
        WrongAxes: it has not two or three axes.
        UnsupportedPixels: it holds something else than numbers; Python objects are not even looked at.
        DamagedImage, ImageTooLarge: its header cannot be read, or cannot be true.
    """
    shape, fortran, dtype, offset = _header(file)
    if len(shape) not in (2, 3):
        raise WrongAxes(
            file=file,
            found=f"an array of shape {shape}",
            expected="shape (height, width) or (height, width, channels)",
            remedy="Save one picture in a file, its channels last.",
        )
    if dtype.kind not in "biuf":
        raise UnsupportedPixels(
            file=file, found=f"values of type {dtype}", expected="integers or floats", remedy="Convert the array."
        )
    height, width, channels = (*shape, 1)[:3]
    check_bounds(file, height=height, width=width, channels=channels)
    interpreter = Interpreter(file, plain, dtype=dtype.newbyteorder("="), channels=channels)
    if fortran:  # the first axis is innermost: the file holds the picture on its side, plane by plane
        turned = Flat(file, offset=offset, shape=(channels, width, height, 1), dtype=dtype)
        return FileSource(file, _OnItsSide(turned), interpreter, height=height, width=width, block=(height, 1))
    flat = Flat(file, offset=offset, shape=(1, height, width, channels), dtype=dtype)
    return FileSource(file, flat, interpreter, height=height, width=width, block=(1, width))


@final
class _OnItsSide:
    """Samples whose rows are the columns of others."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples
        self.close = samples.close

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        return self._samples.read(columns, rows).swapaxes(0, 1)


def _header(file: Path) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """(shape, whether in Fortran order, type, where the values begin)."""
    with file.open("rb") as stream, decoding(file):
        version = np.lib.format.read_magic(stream)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in readers:
            raise DamagedImage(
                file=file,
                found=f"a .npy file of version {version[0]}.{version[1]}",
                expected="version 1.0 or 2.0",
                remedy="Save it by numpy.save again.",
            )
        shape, fortran, dtype = readers[version](stream, max_header_size=_LONGEST_HEADER)
        return shape, fortran, dtype, stream.tell()
