"""Open images of any size and supported format for reading window by window."""

import hashlib
import os
from pathlib import Path
from typing import Final, Protocol, Self

import numpy as np

from maskwright.images.files import ZARR_METADATA
from maskwright.images.read import NPY, first_bytes
from maskwright.images.tiff import SIGNATURES
from maskwright.images.windows.georeference import Georeference, PixelSize
from maskwright.images.windows.npy import open_npy
from maskwright.images.windows.tiff import open_tiff
from maskwright.images.windows.whole_image import open_whole
from maskwright.images.windows.zarr import open_zarr

_MAX_CHUNKS: Final = 2**20  # maximum number of chunks whose size and time `identity` reads, which takes seconds


class Source(Protocol):
    """An open image, which several threads can read but which must be opened separately in each process.

    Pixels are those of `maskwright.images.read.read_image`: uint8, uint16 or float32, channels last.
    """

    height: int
    width: int
    channels: int
    dtype: np.dtype
    """Data type of the pixels: uint8, uint16 or float32."""
    nodata: float | None
    """Value of missing pixels in the result of `read`, which may be NaN; None if there is no such value."""
    georeference: Georeference | None
    pixel_size: PixelSize | None
    block: tuple[int, int]
    """Height and width, in pixels, of a tile, strip or chunk of the file. Each is decoded as a whole."""
    windowed: bool
    """Whether windows can be read separately; otherwise, the whole image is read into memory."""

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """Return the pixels (h, w, channels) of a window inside the image.

        Raises:
            UnreadableWindow: The pixels cannot be read; ``fields`` contains the damaged rows and columns.
        """
        ...

    def valid(self, rows: slice, columns: slice) -> np.ndarray:
        """Return a mask (h, w) of the valid pixels of a window according to the internal mask of the file (see GDAL).

        The value ``nodata`` is not considered. Errors are those of `read`.
        """
        ...

    def close(self) -> None:
        """Close the file."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> None: ...


def open_source(path: str | Path) -> Source:
    """Open an image for reading window by window; the format is detected from the content, not from the name.

    TIFF files in tiles or strips (BigTIFF, OME-TIFF, GeoTIFF, COG), Zarr, OME-Zarr and .npy files are read window by
    window. The other formats of `read_image` are read as a whole, as are TIFFs with one compressed segment (strip or
    tile) or an EXIF orientation.

    Raises:
        ImageFault: The image is missing, its header is invalid, or its pixels are unsupported.
        ImageTooLarge: The image can only be read as a whole, for which it is too large.
    """
    file = Path(path)
    if os.path.isdir(file):  # noqa: PTH112  Path.is_dir raises for invalid names
        return open_zarr(file)
    start = first_bytes(file)
    if start in SIGNATURES:
        return open_tiff(file)
    if start == NPY:
        return open_npy(file)
    return open_whole(file)


def identity(path: str | Path) -> str:
    """Return a string that changes when the image is modified.

    For a file, the string contains its size and modification time. For Zarr, it is a digest of the metadata, the
    modification times of the folders, and the size and modification time of each of the first million chunks. Later
    chunks are covered by the modification time of their folder if they are replaced by renaming, as in the zarr
    library.

    Raises:
        OSError: The image no longer exists.
    """
    file = Path(path)
    if not file.is_dir():
        state = file.stat()
        return f"{state.st_size}-{state.st_mtime_ns}"
    digest, remaining = hashlib.sha256(), _MAX_CHUNKS
    for folder, folders, names in os.walk(file):
        folders.sort()
        folder_path = Path(folder)
        digest.update(f"{folder_path.relative_to(file)} {folder_path.stat().st_mtime_ns}\n".encode())
        for name in sorted(names)[:remaining]:
            state = (folder_path / name).stat()
            digest.update(f"{name} {state.st_size} {state.st_mtime_ns}\n".encode())
        remaining = max(0, remaining - len(names))
        for name in sorted(set(names).intersection(ZARR_METADATA)):
            digest.update((folder_path / name).read_bytes())
    return digest.hexdigest()
