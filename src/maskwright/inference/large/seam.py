"""Measure the effect of block borders on a finished result by predicting the pixels along them again."""

from itertools import product
from typing import Final, NamedTuple

import numpy as np

from maskwright.images.round_up import round_up
from maskwright.inference.large.block_predictor import LocalBlockPredictor
from maskwright.inference.large.block_store import BlockStore
from maskwright.inference.tiling.layout import Layout

_RADIUS: Final = 128  # maximum distance, in pixels, of the compared pixels from a border
_MIN_SITES: Final = 2  # minimum number of compared sites, if the layout has that many
_MAX_SITES: Final = 8
_BLOCKS_PER_SITE: Final = 16


class Seam(NamedTuple):
    """Difference along the inner borders between a result and one computed with a wider margin."""

    changed_fraction: float | None
    """Fraction in [0, 1] of the compared pixels whose class differs; None if no pixels were compared."""
    pixels: int
    """Total number of compared pixels."""


def measure_seam(predictor: LocalBlockPredictor, store: BlockStore, *, layout: Layout) -> Seam:
    """Measure the fraction of pixels near inner borders whose class changes with a wider margin.

    At up to 8 sites chosen with a fixed seed, pixels up to half a result tile from a border are compared; this distance
    is at least the multiple of the network and at most 128 pixels. The wider margin is more than twice the margin of
    the layout, but no wider than the window of a block allows.
    """
    changed = compared = 0
    # Half of a result tile whose side is one multiple is not on the grid of the network.
    radius = min(_RADIUS, max(layout.multiple, layout.result_tile // 2 // layout.multiple * layout.multiple))
    for site in _sites(layout):
        rows, columns = (
            slice(max(0, middle - radius), min(middle + radius, end))
            for middle, end in zip(site, layout.size, strict=True)
        )
        window = [_widened(middle, axis, layout, radius) for axis, middle in enumerate(site)]
        inside = tuple(
            slice(kept.start - read.start, kept.stop - read.start)
            for kept, read in zip((rows, columns), window, strict=True)
        )
        wider = predictor.windows.read(*window)
        encoding, valid = predictor.encoding, wider.valid[inside]
        expected = encoding.classes(encoding.encode(predictor.windows.probabilities(wider)[inside]))
        changed += int((valid & (expected != encoding.classes(store.read(rows, columns)))).sum())
        compared += int(valid.sum())
    return Seam(changed / compared if compared else None, compared)


def _sites(layout: Layout) -> list[tuple[int, int]]:
    """Return the crossings of inner borders, or the midpoints of borders that no other border crosses."""
    borders = [[span.first for span in layout.spans(axis)[1:]] for axis in (0, 1)]
    if not any(borders):
        return []
    crossings = list(product(*(at or [end // 2] for at, end in zip(borders, layout.size, strict=True))))
    number = min(max(_MIN_SITES, len(layout.blocks()) // _BLOCKS_PER_SITE), _MAX_SITES, len(crossings))
    chosen = np.random.default_rng(0).choice(len(crossings), number, replace=False)
    return [crossings[index] for index in sorted(chosen)]


def _widened(middle: int, axis: int, layout: Layout, radius: int) -> slice:
    """Return the window around a border, aligned to the grid of the network.

    The window contains the compared pixels and is otherwise no larger than that of a block, whose memory use was
    reported.
    """
    multiple, end = layout.multiple, layout.size[axis]
    half = max(radius, min(2 * (layout.margin + _RADIUS), layout.window[axis] // 2 // multiple * multiple))
    stop = min(middle + half, end)
    return slice(max(0, middle - half) // multiple * multiple, round_up(stop, multiple))
