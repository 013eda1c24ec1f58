"""How far a network sees, measured on the image itself: the margin beyond which a window's border changes no class."""

from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskwright.images.windows import Source, UnreadableWindow
from maskwright.inference.large.block_grid import KEPT, lay_out
from maskwright.inference.large.block_predictor import Predictor

LEAST: Final = 32
MOST: Final = 512
# Of the pixels of a result, the share that may have another class than by a margin as wide as can be.
ALLOWED: Final = 1e-4

_INNER: Final = 768  # the shorter strip: room for the widest margin, and for what changes beyond it
_ACROSS: Final = 256
_PLACES: Final = 16  # from which the most textured is taken
_PROBE: Final = 64


def measure_margin(predictor: Predictor) -> int:
    """The least multiple of the network's `multiple`, 32 to 512 pixels, beyond which borders change few classes.

    Along each axis that needs several blocks, two strips where the image is most textured are predicted twice: cut at
    one end, and going on there for 512 pixels. Where both agree, the network does not see the cut. At most 1 of
    10,000 pixels kept may differ.

    Raises:
        WrongPixels, WrongChannels: The image is not of the kind the network was trained on.
    """
    source, multiple = predictor.source, predictor.engine.bundle.multiple
    least = -(-LEAST // multiple) * multiple
    layout = lay_out(source.height, source.width, multiple=multiple, margin=least)
    axes = [axis for axis in (0, 1) if len(layout.spans(axis)) > 1]
    if not axes:
        return least
    cuts = product(axes, (False, True))
    found = [_changed(predictor, axis, at_end=at_end) for axis, at_end in cuts]
    changed = np.mean([one[: min(map(len, found))] for one in found], axis=0)
    # A block keeps 1024 x 1024 pixels and has four borders, each with as many changed ones as 1024 times this sum.
    margins = range(least, max(MOST, least) + 1, multiple)
    return next((m for m in margins if changed[m:].sum() / (KEPT // 4) <= ALLOWED), margins[-1])


def _changed(predictor: Predictor, axis: int, *, at_end: bool) -> NDArray[np.float64]:
    """The share of pixels that a cut changes, by their distance from it: (768,) or, of a smaller image, fewer."""
    longer, shorter, across = _strips(predictor, axis, at_end=at_end)
    whole, cut = (_classes(predictor, axis, along, across) for along in (longer, shorter))
    offset = shorter.start - longer.start
    changed = (whole[offset : offset + len(cut)] != cut).mean(axis=1)
    return changed[::-1] if at_end else changed


def _classes(predictor: Predictor, axis: int, along: slice, across: slice) -> NDArray[np.uint8]:
    """Label indices of a strip, (along, across)."""
    window = predictor.read(*((across, along) if axis else (along, across)))
    decided = predictor.engine.bundle.decide(predictor.engine(window.images))[0]
    return decided.T if axis else decided


def _strips(predictor: Predictor, axis: int, *, at_end: bool) -> tuple[slice, slice, slice]:
    """Where the longer and the shorter strip lie along the axis, and both across it: the cut meets much texture."""
    source, multiple = predictor.source, predictor.engine.bundle.multiple
    size = (source.width, source.height) if axis else (source.height, source.width)
    along, across, beyond, inner, wide = (
        -(-length // multiple) * multiple for length in (*size, MOST, _INNER, _ACROSS)
    )
    inner, wide = min(inner, along - beyond), min(wide, across)

    def texture(place: tuple[int, int]) -> float:
        cut, side = place[0] + (inner if at_end else beyond), place[1] + wide // 2
        spans = [slice(max(0, middle - _PROBE), middle + _PROBE) for middle in ((side, cut) if axis else (cut, side))]
        return _texture(source, *spans)

    steps = (along - beyond - inner) // multiple + 1, (across - wide) // multiple + 1
    places = np.random.default_rng(0).integers(0, steps, (_PLACES, 2)) * multiple
    start, side = max(((int(start), int(side)) for start, side in places), key=texture)
    first = start if at_end else start + beyond
    return slice(start, start + beyond + inner), slice(first, first + inner), slice(side, side + wide)


def _texture(source: Source, rows: slice, columns: slice) -> float:
    """How much the pixels vary; nothing where they cannot be read."""
    inside = slice(rows.start, min(rows.stop, source.height)), slice(columns.start, min(columns.stop, source.width))
    try:
        pixels = source.read(*inside).astype(np.float64)
    except UnreadableWindow:
        return 0.0
    return float(np.nan_to_num(pixels.std(axis=(0, 1))).mean())
