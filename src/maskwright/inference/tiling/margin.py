"""Choose the layout of an image: a single call if possible, otherwise blocks with a margin measured on the image."""

from itertools import product
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import wrong_argument
from maskwright.images.round_up import round_up
from maskwright.images.windows.errors import UnreadableWindow
from maskwright.inference.bundle import Bundle
from maskwright.inference.tiling.layout import Layout, lay_out, single_block
from maskwright.inference.tiling.window import WindowSource
from maskwright.inference.tiling.window_predictor import WindowPredictor

MIN_MARGIN: Final = 32
"""Smallest receptive margin, in pixels."""
MAX_GIVEN_MARGIN: Final = 1024
"""Largest margin that a user may specify, in pixels."""
MAX_CHANGED_FRACTION: Final = 1e-4
"""Largest fraction of pixels whose class may differ from the result with the widest margin."""

_CANDIDATES: Final = 16  # number of random positions, the most textured of which is measured
_TEXTURE_RADIUS: Final = 64  # distance in pixels from a cut within which texture is compared


class Strips(NamedTuple):
    """Two strips along one axis, the longer of which continues beyond the cut at one end of the shorter."""

    longer: slice
    shorter: slice
    across: slice


def fits_one_call(bundle: Bundle, height: int, width: int) -> bool:
    """Return whether an image of this size, at the scale of the network, is processed in one call, in a batch."""
    return height * width <= bundle.tile**2


def max_margin(bundle: Bundle) -> int:
    """Return the widest margin that is measured: half a tile, so that a window has at most twice the side of a tile."""
    return round_up(bundle.tile // 2, bundle.multiple)


def check_margin(margin: int | None) -> None:
    """Check a margin specified by the user.

    Raises:
        WrongArgument: ``margin`` is negative or above 1024 pixels.
    """
    if margin is not None and not 0 <= margin <= MAX_GIVEN_MARGIN:
        raise wrong_argument("margin", margin, expected=f"0 to {MAX_GIVEN_MARGIN} pixels")


def choose_layout(predictor: WindowPredictor, margin: int | None = None) -> Layout:
    """Lay out an image; the layout depends only on the image, the engine and ``margin``.

    An image of at most ``bundle.tile`` ** 2 pixels is one block. Without ``margin``, so is an image that fits a window
    of twice the side of a tile, since the widest margin would require such windows anyway; for larger images, the
    margin is measured.

    Args:
        predictor: Predictor of windows, which contains the image and the engine.
        margin: Width in pixels added to each side of a block, rounded up to the multiple of the network; measured if
            None.

    Raises:
        WrongPixels, WrongChannels: The image has a data type or channels that the network does not accept.
    """
    bundle, source = predictor.engine.bundle, predictor.source
    size, grid = (source.height, source.width), {"multiple": bundle.multiple, "tile": bundle.tile}
    fits_widest_window = margin is None and len(lay_out(*size, margin=max_margin(bundle), **grid).blocks()) == 1
    if fits_widest_window or fits_one_call(bundle, *size):
        return single_block(*size, **grid)
    pixels = measure_margin(predictor) if margin is None else round_up(margin, bundle.multiple)
    return lay_out(*size, margin=pixels, **grid)


def measure_margin(predictor: WindowPredictor) -> int:
    """Measure the receptive margin: the distance from a window's border beyond which few classes change.

    Along each axis that may be cut, predictions are computed twice for two strips where the image is most textured: for
    the strip cut at one end, and for the strip extended there by the widest margin. Where both predictions agree, the
    cut has no effect. At most 1 of 10,000 kept pixels may differ.

    Returns:
        Margin in pixels, a multiple of the network's ``multiple``, from 32 to half a tile (512 by default).

    Raises:
        WrongPixels, WrongChannels: The image has a data type or channels that the network does not accept.
    """
    source, bundle = predictor.source, predictor.engine.bundle
    smallest = round_up(MIN_MARGIN, bundle.multiple)
    layout = lay_out(source.height, source.width, multiple=bundle.multiple, margin=smallest, tile=bundle.tile)
    axes = [axis for axis in (0, 1) if len(layout.spans(axis)) > 1]
    if not axes:
        return smallest
    profiles = [_changed_by_distance(predictor, axis, at_end=at_end) for axis, at_end in product(axes, (False, True))]
    changed = np.mean([profile[: min(map(len, profiles))] for profile in profiles], axis=0)
    # A block keeps tile x tile pixels and has four borders, each with `tile` times this sum of changed pixels.
    margins = range(smallest, max(max_margin(bundle), smallest) + 1, bundle.multiple)
    borders = bundle.tile / 4
    return next((m for m in margins if changed[m:].sum() / borders <= MAX_CHANGED_FRACTION), margins[-1])


def _changed_by_distance(predictor: WindowPredictor, axis: int, *, at_end: bool) -> NDArray[np.float64]:
    """Return the fraction of pixels that a cut changes at each distance from it, up to three quarters of a tile."""
    strips = _textured_strips(predictor, axis, at_end=at_end)
    continued, cut = (_classes(predictor, axis, along, strips.across) for along in (strips.longer, strips.shorter))
    offset = strips.shorter.start - strips.longer.start
    changed = (continued[offset : offset + len(cut)] != cut).mean(axis=1)
    return changed[::-1] if at_end else changed


def _classes(predictor: WindowPredictor, axis: int, along: slice, across: slice) -> NDArray[np.uint8]:
    """Return the label indices of a strip, (along, across)."""
    window = predictor.read(*((across, along) if axis else (along, across)))
    indices = predictor.engine.bundle.decide(predictor.probabilities(window))
    return indices.T if axis else indices


def _textured_strips(predictor: WindowPredictor, axis: int, *, at_end: bool) -> Strips:
    """Choose strips with the most texture at their cut, from random positions drawn with a fixed seed."""
    source, bundle = predictor.source, predictor.engine.bundle
    size = (source.width, source.height) if axis else (source.height, source.width)
    lengths = *size, bundle.tile // 2, 3 * bundle.tile // 4, bundle.tile // 4
    along, across, beyond, inner, wide = (round_up(length, bundle.multiple) for length in lengths)
    inner, wide = min(inner, along - beyond), min(wide, across)

    def texture(start: int, side: int) -> float:
        cut, middle = start + (inner if at_end else beyond), side + wide // 2
        spans = [slice(max(0, at - _TEXTURE_RADIUS), at + _TEXTURE_RADIUS) for at in (cut, middle)]
        return _texture(source, *(reversed(spans) if axis else spans))

    steps = (along - beyond - inner) // bundle.multiple + 1, (across - wide) // bundle.multiple + 1
    positions = (np.random.default_rng(0).integers(0, steps, (_CANDIDATES, 2)) * bundle.multiple).tolist()
    start, side = max(positions, key=lambda position: texture(*position))
    first = start if at_end else start + beyond
    return Strips(slice(start, start + beyond + inner), slice(first, first + inner), slice(side, side + wide))


def _texture(source: WindowSource, rows: slice, columns: slice) -> float:
    """Return the mean standard deviation of the channels of a window, or 0 if the window cannot be read."""
    inside = slice(rows.start, min(rows.stop, source.height)), slice(columns.start, min(columns.stop, source.width))
    try:
        pixels = source.read(*inside).astype(np.float64)
    except UnreadableWindow:
        return 0.0
    return float(np.nan_to_num(pixels.std(axis=(0, 1))).mean())
