"""Write a TIFF tile by tile, as a GeoTIFF if there is a georeference and as a BigTIFF if it may exceed 4 GiB."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np

from maskwright.images.disk_full import naming_full_disk
from maskwright.images.windows.georeference import Georeference
from maskwright.images.windows.tiles import full_tiles
from maskwright.images.write import atomic_path

_MAX_CLASSIC_BYTES: Final = 2**32 - 2**25  # maximum size of the pixels in a classic TIFF; the rest is for the header
_NODATA_TAG: Final = 42113


def write_tiff(
    path: str | Path,
    tiles: Iterator[np.ndarray],
    *,
    height: int,
    width: int,
    bands: int,
    dtype: np.dtype | str,
    tile: int,
    georeference: Georeference | None = None,
    nodata: float | None = None,
) -> None:
    """Write an image (height, width, bands) from its tiles, row by row from the top left.

    Each tile has the shape (h, w) or (h, w, bands), with sides of ``tile`` pixels (a multiple of 16), or fewer at the
    right and lower borders. Only a few tiles are in memory at a time. The compression is Deflate, and the output is
    deterministic. The file is written atomically.

    Raises:
        WrongTiles: There are too few or too many tiles, or a tile has the wrong shape or data type.
        OSError: The disk is full; the error names ``path``.

    >>> from tempfile import TemporaryDirectory
    >>> import tifffile
    >>> tiles = (np.full((16, width), value, "uint8") for value, width in enumerate((16, 4)))
    >>> with TemporaryDirectory() as folder:
    ...     write_tiff(Path(folder, "a.tif"), tiles, height=16, width=20, bands=1, dtype="uint8", tile=16)
    ...     tifffile.imread(Path(folder, "a.tif"))[0, 12:]
    array([0, 0, 0, 0, 1, 1, 1, 1], dtype=uint8)
    """
    import tifffile

    path, dtype = Path(path), np.dtype(dtype)
    size = height * width * bands * dtype.itemsize
    filled = full_tiles(path, tiles, shape=(height, width, bands), dtype=dtype, tile=tile)
    with naming_full_disk(path), atomic_path(path) as temporary:
        tifffile.imwrite(
            temporary,
            chain(filled),  # wrapped in a chain, since tifffile closes generators
            shape=(height, width, bands) if bands > 1 else (height, width),
            dtype=dtype,
            tile=(tile, tile),
            photometric="minisblack",
            planarconfig="contig",
            compression="zlib",
            predictor=dtype.kind == "f",
            bigtiff=size + size // 100 > _MAX_CLASSIC_BYTES,
            byteorder="<",
            software=False,
            metadata=None,
            extratags=_tags(georeference, nodata),
            maxworkers=1,
        )
        next(filled, None)  # raises an error if there are more tiles than tifffile has consumed


def _tags(georeference: Georeference | None, nodata: float | None) -> list[tuple[Any, ...]]:
    """Return the (code, data type, count, value, write once) of each tag that tifffile does not write by itself."""
    tags: list[tuple[Any, ...]] = [(*tag, True) for tag in georeference.tags] if georeference else []
    if nodata is not None:
        tags.append((_NODATA_TAG, "s", 0, f"{nodata:.17g}", True))
    return tags
