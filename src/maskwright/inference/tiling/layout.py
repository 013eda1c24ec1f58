"""Compute the blocks of an image on a grid that starts at its origin."""

from itertools import product
from math import ceil, lcm
from typing import Final, NamedTuple

from pydantic import BaseModel, ConfigDict

from maskwright.images.round_up import round_up

_RESULT_TILE: Final = 256  # tile side in pixels that viewers of large images expect
_TIFF_UNIT: Final = 16  # the sides of TIFF tiles are multiples of this number of pixels


class Span(NamedTuple):
    """A block along one axis: pixels [start, stop) are processed, and predictions for [first, last) are kept."""

    start: int
    stop: int
    first: int
    last: int


class ImageBlock(NamedTuple):
    """A window that is processed in one call and the part of its prediction that is kept."""

    rows: Span
    columns: Span

    @property
    def name(self) -> str:
        """First kept row and column, in the form used in file names."""
        return f"{self.rows.first}-{self.columns.first}"

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, in pixels, of the kept part."""
        return self.rows.last - self.rows.first, self.columns.last - self.columns.first

    @property
    def window(self) -> tuple[slice, slice]:
        """Ranges of the rows and columns of the image that the window covers."""
        return slice(self.rows.start, self.rows.stop), slice(self.columns.start, self.columns.stop)

    @property
    def kept(self) -> tuple[slice, slice]:
        """Ranges of the rows and columns of the image for which predictions are kept."""
        return slice(self.rows.first, self.rows.last), slice(self.columns.first, self.columns.last)

    @property
    def kept_in_window(self) -> tuple[slice, slice]:
        """Ranges of the rows and columns of the window for which predictions are kept."""
        rows, columns = (slice(span.first - span.start, span.last - span.start) for span in self)
        return rows, columns


class Layout(BaseModel):
    """The blocks of an image, which depend on its size, the multiple of the network, the tile side and the margin.

    >>> layout = lay_out(3000, 1000, multiple=32, margin=64, tile=1024)
    >>> [block.rows for block in layout.blocks()]
    [Span(start=0, stop=1152, first=0, last=1024), Span(start=960, stop=2112, first=1024, last=2048),
     Span(start=1856, stop=3008, first=2048, last=3000)]
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: tuple[int, int]
    """Height and width of the image in pixels."""
    multiple: int
    """Multiple at which windows start, so that the strides of the network fall on the same pixels in every window."""
    margin: int
    """Width in pixels by which a window exceeds its kept part on each side that is not an image border."""
    result_tile: int
    """Side of the result tiles in pixels; blocks keep whole tiles, except at the lower and right image borders."""
    kept: tuple[int, int]
    """Height and width, in pixels, kept by a block; the last block keeps less, or more by up to the margin."""

    @property
    def window(self) -> tuple[int, int]:
        """Height and width, in pixels, of every window."""
        height, width = (
            min(round_up(length, self.multiple), kept + 2 * self.margin)
            for length, kept in zip(self.size, self.kept, strict=True)
        )
        return height, width

    def blocks(self) -> list[ImageBlock]:
        """Return all blocks, row by row; each pixel of the image is kept by exactly one block."""
        return [ImageBlock(*spans) for spans in product(self.spans(0), self.spans(1))]

    def spans(self, axis: int) -> list[Span]:
        """Return the blocks along one axis; their starts and stops include reflected pixels beyond the image."""
        length, kept, window = self.size[axis], self.kept[axis], self.window[axis]
        padded = round_up(length, self.multiple)
        firsts = range(0, max(padded - self.margin, 1), kept) if window < padded else range(1)
        starts = [min(max(first - self.margin, 0), padded - window) for first in firsts]
        lasts = [*firsts[1:], length]
        return [Span(start, start + window, *ends) for start, *ends in zip(starts, firsts, lasts, strict=True)]

    def result_tiles(self) -> tuple[int, int]:
        """Number of tile rows and tile columns of the result."""
        return ceil(self.size[0] / self.result_tile), ceil(self.size[1] / self.result_tile)


def lay_out(height: int, width: int, *, multiple: int, margin: int, tile: int) -> Layout:
    """Cut an image into the smallest number of equal blocks that keep about ``tile`` x ``tile`` pixels each.

    An axis of at most ``tile + 2 * margin`` pixels is not cut. ``margin`` must be a multiple of ``multiple``.
    """
    result_tile = _result_tile(multiple, tile)
    kept = tuple(
        _kept(round_up(length, multiple), tile=tile, result_tile=result_tile, margin=margin)
        for length in (height, width)
    )
    return Layout(size=(height, width), multiple=multiple, margin=margin, result_tile=result_tile, kept=kept)


def single_block(height: int, width: int, *, multiple: int, tile: int) -> Layout:
    """Lay out an image as one block that is processed in one call.

    >>> single_block(300, 5000, multiple=32, tile=1024).window
    (320, 5024)
    """
    result_tile = _result_tile(multiple, tile)
    kept = round_up(height, result_tile), round_up(width, result_tile)
    return Layout(size=(height, width), multiple=multiple, margin=0, result_tile=result_tile, kept=kept)


def _result_tile(multiple: int, tile: int) -> int:
    return round_up(min(_RESULT_TILE, tile), lcm(_TIFF_UNIT, multiple))


def _kept(padded: int, *, tile: int, result_tile: int, margin: int) -> int:
    if padded <= tile + 2 * margin:
        return round_up(padded, result_tile)
    inner = padded - margin  # the last block needs no margin beyond the image and can keep that many more pixels
    return round_up(ceil(inner / ceil(inner / tile)), result_tile)
