"""The tiles of a result, checked: as many as it has, each of the shape and type announced."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np

from maskwright.images.windows.errors import WrongTiles


def placed_tiles(
    file: Path, tiles: Iterator[np.ndarray], *, shape: tuple[int, int, int], dtype: np.dtype, tile: int
) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """(rows, columns, pixels of shape (h, w, bands)) of each tile of an image of ``shape``, row by row.

    Raises:
        WrongTiles: too few, too many, or one of another shape or type.
    """
    height, width, bands = shape
    places = product(range(0, height, tile), range(0, width, tile))
    for top, left in places:
        rows, columns = slice(top, min(top + tile, height)), slice(left, min(left + tile, width))
        pixels = next(tiles, None)
        if pixels is None:
            raise WrongTiles(file=file, found=f"no tile for row {top}, column {left}", expected="one for each place")
        expected = rows.stop - top, columns.stop - left, bands
        if pixels.dtype != dtype or pixels.shape not in (expected, expected[:2] if bands == 1 else expected):
            raise WrongTiles(
                file=file,
                found=f"a tile of {pixels.dtype}, shape {pixels.shape}, for row {top}, column {left}",
                expected=f"{dtype}, shape {expected}",
            )
        yield rows, columns, pixels.reshape(expected)
    if next(tiles, None) is not None:
        raise WrongTiles(file=file, found="more tiles than there are places", expected="one for each place")


def full_tiles(
    file: Path, tiles: Iterator[np.ndarray], *, shape: tuple[int, int, int], dtype: np.dtype, tile: int
) -> Iterator[np.ndarray]:
    """The same tiles, those of the edges filled up with zeros to (tile, tile, bands), as TIFF wants them.

    Raises:
        WrongTiles: as for `placed_tiles`.
    """
    for rows, columns, pixels in placed_tiles(file, tiles, shape=shape, dtype=dtype, tile=tile):
        missing = tile - (rows.stop - rows.start), tile - (columns.stop - columns.start)
        yield np.pad(pixels, ((0, missing[0]), (0, missing[1]), (0, 0))) if any(missing) else pixels
