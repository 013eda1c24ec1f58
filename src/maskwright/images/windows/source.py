"""Open images of any size and format for reading window by window."""

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

_MAX_CHUNKS: Final = 2**20  # chunks whose size and time `identity` reads, in seconds


class Source(Protocol):
    """An open image; it can be read from several threads, but must be opened in each process.

    Pixels are those of `maskwright.images.read.read_image`: uint8, uint16 or float32, channels last.
    """

    height: int
    width: int
    channels: int
    dtype: np.dtype
    """Type of the pixels: uint8, uint16 or float32."""
    nodata: float | None
    """Value of missing pixels in the result of `read`, possibly NaN; None if there is no such value."""
    georeference: Georeference | None
    pixel_size: PixelSize | None
    block: tuple[int, int]
    """Rows and columns of the tiles, strips or chunks of the file, which are decoded as a unit."""
    windowed: bool
    """False if the format can only be read as a whole, so that the image is held in memory."""

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """Return the pixels (h, w, channels) of a window inside the image.

        Raises:
            UnreadableWindow: They cannot be read; ``fields`` contain the damaged rows and columns.
        """
        ...

    def valid(self, rows: slice, columns: slice) -> np.ndarray:
        """Return which pixels of a window are valid by the internal mask of the file (see GDAL), (h, w) bool.

        The value ``nodata`` is not considered. Raises the errors of `read`.
        """
        ...

    def close(self) -> None:
        """Close the file."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> None: ...


def open_source(path: str | Path) -> Source:
    """Open an image for reading window by window; the format is detected from the content, not from the name.

    TIFF in tiles or strips (BigTIFF, OME-TIFF, GeoTIFF, COG), Zarr, OME-Zarr and .npy are read window by window. The
    other formats of `read_image`, and TIFFs in one compressed segment or with an EXIF orientation, are read as a whole.

    Raises:
        ImageFault: The image is missing, its header is invalid, or its pixels are unsupported.
        ImageTooLarge: It can only be read as a whole and is too large for that.
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
    """Return a string that changes when the image is written.

    For a file it is the size and modification time. For Zarr it is a digest of the metadata, the modification times of
    the folders, and the size and modification time of each of the first million chunks. Later chunks are covered by the
    time of their folder if they are replaced by renaming, as the zarr library does.

    Raises:
        OSError: The image does not exist any more.
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
