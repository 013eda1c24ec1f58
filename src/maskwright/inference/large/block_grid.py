"""Where the blocks of a large image lie: pure arithmetic on one grid from the image's origin."""

from itertools import product
from math import ceil, lcm
from typing import Final, NamedTuple

from pydantic import BaseModel, ConfigDict

from maskwright.inference.tiles import Span

# The side of what a block keeps, about: a larger one predicts fewer pixels twice, and takes more memory.
KEPT: Final = 1024
# The side of the tiles of a result, at least; readers of large images expect about this.
_TILE: Final = 256


class Block(NamedTuple):
    """A window that is predicted in one call, and the pixels of it that are kept, on each axis."""

    rows: Span
    columns: Span

    @property
    def name(self) -> str:
        """Of the file it is kept in: its first row and column."""
        return f"{self.rows.first}-{self.columns.first}"

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns that are kept."""
        return self.rows.last - self.rows.first, self.columns.last - self.columns.first


class Layout(BaseModel):
    """The blocks of an image. It follows from the image's size, the network's multiple and the margin alone.

    >>> layout = lay_out(3000, 1000, multiple=32, margin=64)
    >>> [block.rows for block in layout.blocks()]
    [Span(start=0, stop=1152, first=0, last=1024), Span(start=960, stop=2112, first=1024, last=2048),
     Span(start=1856, stop=3008, first=2048, last=3000)]
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: tuple[int, int]
    """Height and width of the image."""
    multiple: int
    """Windows start at multiples of this, so that the network's grid lies everywhere as over the whole image."""
    margin: int
    """Pixels that a window sees beyond those it keeps, on each side that is not the image's."""
    tile: int
    """Side of the result's tiles; a block keeps whole ones, but at the image's ends."""
    kept: tuple[int, int]
    """Rows and columns that a block keeps; the last one's may be fewer, or more by up to the margin."""

    @property
    def window(self) -> tuple[int, int]:
        """Rows and columns of every window."""
        height, width = (
            min(_rounded_up(length, self.multiple), kept + 2 * self.margin)
            for length, kept in zip(self.size, self.kept, strict=True)
        )
        return height, width

    def blocks(self) -> list[Block]:
        """All blocks, row by row; each pixel of the image is kept by one."""
        return [Block(*spans) for spans in product(self.spans(0), self.spans(1))]

    def spans(self, axis: int) -> list[Span]:
        """The blocks along one axis; starts and stops count reflected pixels beyond the image's end too."""
        length, kept, window = self.size[axis], self.kept[axis], self.window[axis]
        padded = _rounded_up(length, self.multiple)
        firsts = range(0, max(padded - self.margin, 1), kept) if window < padded else range(1)
        starts = [min(max(first - self.margin, 0), padded - window) for first in firsts]
        lasts = [*firsts[1:], length]
        return [Span(start, start + window, *ends) for start, *ends in zip(starts, firsts, lasts, strict=True)]

    def tiles(self) -> tuple[int, int]:
        """How many tiles lie down and across the result."""
        return ceil(self.size[0] / self.tile), ceil(self.size[1] / self.tile)


def lay_out(height: int, width: int, *, multiple: int, margin: int) -> Layout:
    """The layout of an image: as few blocks as keep about 1024 x 1024 pixels each, and those of equal size.

    ``margin`` is a multiple of ``multiple``.
    """
    unit = lcm(16, multiple)  # a TIFF's tiles have sides of multiples of 16
    tile = _rounded_up(_TILE, unit)
    kept = tuple(_kept(_rounded_up(length, multiple), tile=tile, margin=margin) for length in (height, width))
    return Layout(size=(height, width), multiple=multiple, margin=margin, tile=tile, kept=kept)


def _kept(padded: int, *, tile: int, margin: int) -> int:
    if padded <= KEPT + 2 * margin:
        return _rounded_up(padded, tile)
    inner = padded - margin  # the last block needs no margin beyond it, so it may keep that much more
    return _rounded_up(ceil(inner / ceil(inner / KEPT)), tile)


def _rounded_up(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple
