"""Where the tiles of a large image lie: pure arithmetic on one axis at a time."""

from collections.abc import Iterator
from itertools import pairwise, product
from typing import NamedTuple


class Span(NamedTuple):
    """Pixels [start, stop) are predicted; of these [first, last) are kept."""

    start: int
    stop: int
    first: int
    last: int


def spans(length: int, *, tile: int, margin: int) -> list[Span]:
    """Tiles along one axis: each pixel is kept exactly once, and never from within ``margin`` of an inner border.

    Every span is ``tile`` long, the last moved back to end with the image; a shorter axis is one span.

    >>> spans(10, tile=6, margin=1)
    [Span(start=0, stop=6, first=0, last=5), Span(start=4, stop=10, first=5, last=10)]
    """
    if length <= tile:
        return [Span(0, length, 0, length)]
    starts = [*range(0, length - tile, tile - 2 * margin), length - tile]
    edges = [0, *(start + margin for start in starts[1:]), length]
    return [Span(start, start + tile, *kept) for start, kept in zip(starts, pairwise(edges), strict=True)]


def grid(height: int, width: int, *, tile: int, margin: int) -> Iterator[tuple[Span, Span]]:
    """The tiles of an image, row by row, as pairs of spans (vertical, horizontal)."""
    return product(spans(height, tile=tile, margin=margin), spans(width, tile=tile, margin=margin))
