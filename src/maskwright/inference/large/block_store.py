"""Storage of finished blocks in one file each, so that an interrupted job does not repeat them when it is resumed."""

import json
import struct
import zipfile
import zlib
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Final

import numpy as np

from maskwright.images.write import atomic_path
from maskwright.inference.large.block_predictor import BlockResult
from maskwright.inference.large.encoding import Encoding, Values
from maskwright.inference.tiling.layout import ImageBlock, Layout
from maskwright.inference.tiling.window import WindowFailure

_SUFFIX: Final = ".zip"
BLOCK_FILES: Final = f"[0-9]*-[0-9]*{_SUFFIX}"
"""Glob pattern of the block files."""
_FAILURES: Final = "failures.json"
# The errors that `zipfile` raises for a damaged byte: a wrong checksum, method, offset, version, name or flag.
_DAMAGED: Final = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    LookupError,
    struct.error,
)
_DEFLATE_LEVEL: Final = 1  # fast, because a block is written while the engine computes and is read only once


class BlockStore:
    """A folder of blocks, each a ZIP file of result tiles, whose checksums reveal truncated or damaged blocks."""

    def __init__(self, folder: Path, layout: Layout, encoding: Encoding) -> None:
        self._folder = folder
        self._layout = layout
        self._encoding = encoding
        self._starts = [[span.first for span in layout.spans(axis)] for axis in (0, 1)]

    def store(self, block: ImageBlock, result: BlockResult) -> tuple[WindowFailure, ...]:
        """Store a block, flush it to disk, and return the parts of its window that could not be read."""
        with (
            atomic_path(self._file(block.rows.first, block.columns.first)) as temporary,
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=_DEFLATE_LEVEL) as archive,
        ):
            archive.writestr(_FAILURES, json.dumps(result.failures))
            for (top, rows), (left, columns) in product(*(self._cut(length) for length in block.shape)):
                tile = np.ascontiguousarray(result.values[top : top + rows, left : left + columns])
                archive.writestr(_tile_name(block, top, left), tile.data)
        return result.failures

    def failures_of(self, block: ImageBlock) -> tuple[WindowFailure, ...] | None:
        """Return the unreadable parts of a stored block's window; None if the block is missing or damaged."""
        try:
            with zipfile.ZipFile(self._file(block.rows.first, block.columns.first)) as archive:
                sizes = {entry.filename: entry.file_size for entry in archive.infolist() if entry.filename != _FAILURES}
                if sizes == self._sizes(block) and archive.testzip() is None:
                    return tuple(
                        WindowFailure(tuple(rows), tuple(columns), found)
                        for rows, columns, found in json.loads(archive.read(_FAILURES))
                    )
        except _DAMAGED:
            pass
        return None

    def tiles(self) -> Iterator[Values]:
        """Yield the blocks as tiles (h, w, bands), row by row; tiles at the lower and right edges may be smaller."""
        down, across = self._layout.result_tiles()
        for row, column in product(range(down), range(across)):
            yield self._tile(row * self._layout.result_tile, column * self._layout.result_tile)

    def read(self, rows: slice, columns: slice) -> Values:
        """Read a part of the blocks, (h, w, bands), which may extend over several blocks."""
        side = self._layout.result_tile
        top, left = rows.start - rows.start % side, columns.start - columns.start % side
        tiles = [
            np.concatenate([self._tile(row, column) for column in range(left, columns.stop, side)], axis=1)
            for row in range(top, rows.stop, side)
        ]
        return np.concatenate(tiles)[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]

    def _sizes(self, block: ImageBlock) -> dict[str, int]:
        """Return the size in bytes of each tile of a block, keyed by its name in the archive."""
        pixel = self._encoding.bands * self._encoding.block_dtype.itemsize
        return {
            _tile_name(block, top, left): pixel * rows * columns
            for (top, rows), (left, columns) in product(*(self._cut(length) for length in block.shape))
        }

    def _cut(self, length: int) -> Iterator[tuple[int, int]]:
        """Yield the start and length of each tile along a side of a block."""
        side = self._layout.result_tile
        return ((start, min(side, length - start)) for start in range(0, length, side))

    def _tile(self, row: int, column: int) -> Values:
        first_row, first_column = (
            max(start for start in starts if start <= pixel)
            for starts, pixel in zip(self._starts, (row, column), strict=True)
        )
        with zipfile.ZipFile(self._file(first_row, first_column)) as archive:
            content = archive.read(f"{row}-{column}")
        side = self._layout.result_tile
        shape = (min(side, end - start) for end, start in zip(self._layout.size, (row, column), strict=True))
        return np.frombuffer(content, self._encoding.block_dtype).reshape(*shape, self._encoding.bands)

    def _file(self, row: int, column: int) -> Path:
        return self._folder / f"{row}-{column}{_SUFFIX}"


def _tile_name(block: ImageBlock, top: int, left: int) -> str:
    """Return the name of a tile in the archive of its block: its first row and column in the result."""
    return f"{block.rows.first + top}-{block.columns.first + left}"
