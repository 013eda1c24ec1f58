"""The finished blocks of a result that is being made, one file each, so that nothing is lost and nothing repeated."""

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
from maskwright.inference.large.block_grid import Block, Layout
from maskwright.inference.large.block_predictor import Part
from maskwright.inference.large.encoding import Encoding, Values
from maskwright.inference.large.window import Failure

_SUFFIX: Final = ".zip"
PARTS: Final = f"[0-9]*-[0-9]*{_SUFFIX}"
"""The names of blocks' files, as a pattern."""
_FAILURES: Final = "failures.json"
# What `zipfile` raises for one damaged byte or another: a wrong checksum, method, offset, version, name or flag.
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
_LEVEL: Final = 1  # of deflate: a block is written beside the engine's work, and read once


class Parts:
    """A folder of blocks, each a ZIP of the result's tiles in it: the checksums of a ZIP tell a torn one."""

    def __init__(self, folder: Path, layout: Layout, encoding: Encoding) -> None:
        self._folder = folder
        self._layout = layout
        self._encoding = encoding
        self._starts = [[span.first for span in layout.spans(axis)] for axis in (0, 1)]

    def store(self, block: Block, part: Part) -> tuple[Failure, ...]:
        """Keep what became of a block, on the disk when this returns; what of it could not be read."""
        with (
            atomic_path(self._file(block.rows.first, block.columns.first)) as temporary,
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive,
        ):
            archive.writestr(_FAILURES, json.dumps(part.failures))
            for (top, rows), (left, columns) in product(*(self._cut(length) for length in block.shape)):
                tile = np.ascontiguousarray(part.values[top : top + rows, left : left + columns])
                archive.writestr(_name(block, top, left), tile.data)
        return part.failures

    def failures_of(self, block: Block) -> tuple[Failure, ...] | None:
        """What of a finished block could not be read; None if the block is not here, or not whole."""
        try:
            with zipfile.ZipFile(self._file(block.rows.first, block.columns.first)) as archive:
                sizes = {entry.filename: entry.file_size for entry in archive.infolist() if entry.filename != _FAILURES}
                if sizes == self._sizes(block) and archive.testzip() is None:
                    return tuple(
                        Failure(tuple(rows), tuple(columns), found)
                        for rows, columns, found in json.loads(archive.read(_FAILURES))
                    )
        except _DAMAGED:
            pass
        return None

    def tiles(self) -> Iterator[Values]:
        """The tiles of the whole result, (h, w, bands), row by row; at its ends they are as small as what is left."""
        down, across = self._layout.tiles()
        for row, column in product(range(down), range(across)):
            yield self._tile(row * self._layout.tile, column * self._layout.tile)

    def read(self, rows: slice, columns: slice) -> Values:
        """A part of the result, (h, w, bands), by rows and columns inside it."""
        side = self._layout.tile
        top, left = rows.start - rows.start % side, columns.start - columns.start % side
        tiles = [
            np.concatenate([self._tile(row, column) for column in range(left, columns.stop, side)], axis=1)
            for row in range(top, rows.stop, side)
        ]
        return np.concatenate(tiles)[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]

    def _sizes(self, block: Block) -> dict[str, int]:
        """Bytes of each tile of a block, by its name in the archive."""
        pixel = self._encoding.bands * self._encoding.dtype.itemsize
        return {
            _name(block, top, left): pixel * rows * columns
            for (top, rows), (left, columns) in product(*(self._cut(length) for length in block.shape))
        }

    def _cut(self, length: int) -> Iterator[tuple[int, int]]:
        """Start and length of each tile along a block's side."""
        side = self._layout.tile
        return ((start, min(side, length - start)) for start in range(0, length, side))

    def _tile(self, row: int, column: int) -> Values:
        first_row, first_column = (
            max(start for start in starts if start <= pixel)
            for starts, pixel in zip(self._starts, (row, column), strict=True)
        )
        with zipfile.ZipFile(self._file(first_row, first_column)) as archive:
            content = archive.read(f"{row}-{column}")
        shape = (
            min(self._layout.tile, end - start) for end, start in zip(self._layout.size, (row, column), strict=True)
        )
        return np.frombuffer(content, self._encoding.dtype).reshape(*shape, self._encoding.bands)

    def _file(self, row: int, column: int) -> Path:
        return self._folder / f"{row}-{column}{_SUFFIX}"


def _name(block: Block, top: int, left: int) -> str:
    """Of a tile in its block's archive: its first row and column in the result."""
    return f"{block.rows.first + top}-{block.columns.first + left}"
