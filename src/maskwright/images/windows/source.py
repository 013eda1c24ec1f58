"""What an image looks like that is read by window: one protocol, whatever the format."""

import hashlib
import os
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from maskwright.images.files import ZARR_METADATA
from maskwright.images.read import NPY, first_bytes
from maskwright.images.tiff import SIGNATURES
from maskwright.images.windows.georeference import Georeference, PixelSize
from maskwright.images.windows.npy import open_npy
from maskwright.images.windows.tiff import open_tiff
from maskwright.images.windows.whole_image import open_whole
from maskwright.images.windows.zarr import open_zarr

_MOST_CHUNKS = 2**20  # that identity looks at: seconds


class Source(Protocol):
    """An open image; reads may come from several threads. Open it anew, by its path, in every process.

    Pixels are those of `maskwright.images.read_image`: uint8, uint16 or float32, channels last.
    """

    height: int
    width: int
    channels: int
    dtype: np.dtype
    """Of what `read` returns: uint8, uint16 or float32."""
    nodata: float | None
    """The value, in what `read` returns, of pixels that the file calls missing; it may be NaN. None: none are."""
    georeference: Georeference | None
    pixel_size: PixelSize | None
    block: tuple[int, int]
    """Rows and columns of the file's own tiles, strips or chunks: the unit that is decoded, and that can be corrupt."""
    windowed: bool
    """False where the format gives only whole images, so that all of it is in memory."""

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """The pixels (h, w, channels) of a window inside the image.

        Raises:
            UnreadableWindow: they cannot be read; ``fields`` give the rows and columns at fault.
        """
        ...

    def valid(self, rows: slice, columns: slice) -> np.ndarray:
        """Which pixels of a window are any, (h, w) of bool: False where the file's mask (as GDAL writes it) hides one.

        Pixels of the value ``nodata`` are not looked for. Raises as `read` does.
        """
        ...

    def close(self) -> None:
        """Close the file; nothing is read from then on."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(self, *raised: object) -> None: ...


def open_source(path: str | Path) -> Source:
    """An image of any size, open for reading by window; the format is told by the content, not by the name.

    By window: TIFF in tiles or strips (BigTIFF, OME-TIFF, GeoTIFF, COG), Zarr and OME-Zarr, NumPy's .npy. Whole: the
    other formats of `read_image`, and TIFFs in one compressed piece or stored turned.

    Raises:
        ImageFault: there is no such image, its header cannot be true, or its pixels have no meaning here.
        NotWindowed, ImageTooLarge: it can only be read whole and is too large for that.
    """
    file = Path(path)
    if os.path.isdir(file):  # noqa: PTH112  Path.is_dir raises for names that no file can have
        return open_zarr(file)
    start = first_bytes(file)
    if start in SIGNATURES:
        return open_tiff(file)
    if start == NPY:
        return open_npy(file)
    return open_whole(file)


def identity(path: str | Path) -> str:
    """A short name of the state of an image: another one means that the image was written in between.

    For a file its size and time of change; for Zarr a digest of its metadata, its folders' times of change, and the
    size and time of change of each chunk: of the first million, beyond which a chunk shows by its folder's time if it
    was written as the zarr library does, by renaming.

    Raises:
        OSError: there is no such image any more.
    """
    file = Path(path)
    if not file.is_dir():
        state = file.stat()
        return f"{state.st_size}-{state.st_mtime_ns}"
    digest, left = hashlib.sha256(), _MOST_CHUNKS
    for folder, folders, names in os.walk(file):
        folders.sort()
        place = Path(folder)
        digest.update(f"{place.relative_to(file)} {place.stat().st_mtime_ns}\n".encode())
        for name in sorted(names)[:left]:
            state = (place / name).stat()
            digest.update(f"{name} {state.st_size} {state.st_mtime_ns}\n".encode())
        left = max(0, left - len(names))
        for name in sorted(set(names).intersection(ZARR_METADATA)):
            digest.update((place / name).read_bytes())
    return digest.hexdigest()
