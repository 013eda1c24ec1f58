"""Check the number, shapes and data types of the tiles of a result."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np

from maskwright.images.windows.errors import WrongTiles


def placed_tiles(
    file: Path, tiles: Iterator[np.ndarray], *, shape: tuple[int, int, int], dtype: np.dtype, tile: int
) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Yield the rows, columns and pixels (h, w, bands) of each tile of an image of ``shape``, row by row.

    Raises:
        WrongTiles: There are too few or too many tiles, or a tile has the wrong shape or data type.
    """
    height, width, bands = shape
    corners = product(range(0, height, tile), range(0, width, tile))
    for top, left in corners:
        rows, columns = slice(top, min(top + tile, height)), slice(left, min(left + tile, width))
        pixels = next(tiles, None)
        if pixels is None:
            raise WrongTiles(file=file, found=f"no tile for row {top}, column {left}", expected="one for each position")
        expected = rows.stop - top, columns.stop - left, bands
        if pixels.dtype != dtype or pixels.shape not in (expected, expected[:2] if bands == 1 else expected):
            raise WrongTiles(
                file=file,
                found=f"a tile of {pixels.dtype}, shape {pixels.shape}, for row {top}, column {left}",
                expected=f"{dtype}, shape {expected}",
            )
        yield rows, columns, pixels.reshape(expected)
    if next(tiles, None) is not None:
        raise WrongTiles(file=file, found="more tiles than positions", expected="one for each position")


def full_tiles(
    file: Path, tiles: Iterator[np.ndarray], *, shape: tuple[int, int, int], dtype: np.dtype, tile: int
) -> Iterator[np.ndarray]:
    """Yield tiles that are padded with zeros at the image borders to (tile, tile, bands), as TIFF requires.

    Raises:
        WrongTiles: The tiles do not match the image; see `placed_tiles`.
    """
    for rows, columns, pixels in placed_tiles(file, tiles, shape=shape, dtype=dtype, tile=tile):
        missing = tile - (rows.stop - rows.start), tile - (columns.stop - columns.start)
        yield np.pad(pixels, ((0, missing[0]), (0, missing[1]), (0, 0))) if any(missing) else pixels
