"""What the borders between blocks cost a finished result, measured by predicting pixels along them again."""

from itertools import product
from typing import Final, NamedTuple

import numpy as np

from maskwright.inference.large.block_grid import Layout
from maskwright.inference.large.block_predictor import Predictor
from maskwright.inference.large.block_store import Parts

_SIDE: Final = 128  # pixels compared on each side of a border
_FEWEST: Final = 2  # places that are compared, where there are so many
_MOST: Final = 8
_BLOCKS_EACH: Final = 16  # pay for one place


class Seam(NamedTuple):
    """How a result differs along its blocks' inner borders from one with a wider margin."""

    share: float | None
    """Of those pixels, in [0, 1], the share with another class; None where nothing could be compared."""
    pixels: int
    """How many were compared."""


def measure_seam(predictor: Predictor, parts: Parts, *, layout: Layout) -> Seam:
    """The share of pixels within 128 of a border, at up to 8 seeded places, that a wider margin changes.

    It is more than twice as wide, or, of a margin above 256 pixels, as wide as a block's own window allows.
    """
    changed = compared = 0
    for place in _places(layout):
        rows, columns = (
            slice(max(0, middle - _SIDE), min(middle + _SIDE, end))
            for middle, end in zip(place, layout.size, strict=True)
        )
        window = [_widened(middle, axis, layout) for axis, middle in enumerate(place)]
        inside = tuple(
            slice(kept.start - seen.start, kept.stop - seen.start)
            for kept, seen in zip((rows, columns), window, strict=True)
        )
        again = predictor.read(*window)
        encoding, known = predictor.encoding, again.known[inside]
        expected = encoding.classes(encoding.encode(predictor.engine(again.images)[0][inside]))
        changed += int((known & (expected != encoding.classes(parts.read(rows, columns)))).sum())
        compared += int(known.sum())
    return Seam(changed / compared if compared else None, compared)


def _places(layout: Layout) -> list[tuple[int, int]]:
    """Crossings of inner borders; middles of borders that cross none."""
    borders = [[span.first for span in layout.spans(axis)[1:]] for axis in (0, 1)]
    if not any(borders):
        return []
    crossings = list(product(*(at or [end // 2] for at, end in zip(borders, layout.size, strict=True))))
    number = min(max(_FEWEST, len(layout.blocks()) // _BLOCKS_EACH), _MOST, len(crossings))
    chosen = np.random.default_rng(0).choice(len(crossings), number, replace=False)
    return [crossings[index] for index in sorted(chosen)]


def _widened(middle: int, axis: int, layout: Layout) -> slice:
    """The window around a border, on the network's grid: no larger than a block's, whose memory the user was told."""
    multiple, end = layout.multiple, layout.size[axis]
    reach = min(2 * (layout.margin + _SIDE), layout.window[axis] // 2 // multiple * multiple)
    stop = min(middle + reach, end)
    return slice(max(0, middle - reach) // multiple * multiple, -(-stop // multiple) * multiple)
