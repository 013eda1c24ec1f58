"""One window of a large image as the network takes it: reflected at the image's ends, unreadable parts left out."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskwright.images.windows import Source, UnreadableWindow
from maskwright.inference.bundle import Bundle


class Failure(NamedTuple):
    """A part of an image that cannot be read: rows and columns from, and up to before, and what was found there."""

    rows: tuple[int, int]
    columns: tuple[int, int]
    found: str


class Window(NamedTuple):
    """A window ready for an engine."""

    images: NDArray[np.float32]
    """A batch of one, (1, h, w, c); pixels that are not known are as the mean pixel of the training."""
    known: NDArray[np.bool_]
    """Where the image has pixels, (h, w): neither marked as nodata nor transparent nor unreadable."""
    failures: tuple[Failure, ...]


def read_window(source: Source, bundle: Bundle, *, rows: slice, columns: slice, file: str | Path) -> Window:
    """A window, which may reach beyond the image's lower and right ends by less than a multiple.

    Where the network takes fewer channels than there are with alpha, pixels of alpha 0 are not known.

    Raises:
        WrongPixels, WrongChannels: The image is not of the kind the network was trained on.
    """
    inside = slice(rows.start, min(rows.stop, source.height)), slice(columns.start, min(columns.stop, source.width))
    pixels, known, failures = _read(source, *inside)
    if source.channels in (2, 4) and bundle.channels < source.channels:  # the last one is alpha, and goes
        transparent = pixels[..., -1] == 0
        pixels = np.where(transparent[..., None], opaque(pixels.dtype), pixels)
        known = known & ~transparent
    down, right = rows.stop - inside[0].stop, columns.stop - inside[1].stop
    if down or right:
        pixels = np.pad(pixels, ((0, down), (0, right), (0, 0)), mode="reflect")
        known = np.pad(known, ((0, down), (0, right)), mode="reflect")
    prepared = bundle.prepare(pixels, file=file)
    if not known.all():
        prepared[~known] = 0
    return Window(prepared[None], known, failures)


def opaque(dtype: np.dtype[Any]) -> Any:
    """The alpha of a pixel that hides all behind it."""
    return dtype.type(np.iinfo(dtype).max if dtype.kind in "iu" else 1)


def _read(source: Source, rows: slice, columns: slice) -> tuple[NDArray[Any], NDArray[np.bool_], tuple[Failure, ...]]:
    try:
        pixels = source.read(rows, columns)
        return pixels, _known(pixels, source.nodata) & source.valid(rows, columns), ()
    except UnreadableWindow:
        return _read_what_can_be(source, rows, columns)


def _read_what_can_be(
    source: Source, rows: slice, columns: slice
) -> tuple[NDArray[Any], NDArray[np.bool_], tuple[Failure, ...]]:
    """A window read by the file's own tiles, so that one at fault costs no other."""
    shape = rows.stop - rows.start, columns.stop - columns.start
    pixels = np.full((*shape, source.channels), opaque(source.dtype), source.dtype)  # as alpha, all else is refused
    known, failures = np.zeros(shape, np.bool_), []
    for down in _cells(rows, source.block[0]):
        for right in _cells(columns, source.block[1]):
            place = (
                slice(down.start - rows.start, down.stop - rows.start),
                slice(right.start - columns.start, right.stop - columns.start),
            )
            try:
                pixels[place] = source.read(down, right)
                known[place] = _known(pixels[place], source.nodata) & source.valid(down, right)
            except UnreadableWindow as error:
                failures.append(_failure(error))
    return pixels, known, tuple(failures)


def _failure(error: UnreadableWindow) -> Failure:
    fields: dict[str, Any] = error.fields
    rows, columns = fields["rows"], fields["columns"]
    return Failure((int(rows.start), int(rows.stop)), (int(columns.start), int(columns.stop)), str(fields["found"]))


def _cells(span: slice, step: int) -> Iterator[slice]:
    for start in range(span.start - span.start % step, span.stop, step):
        yield slice(max(start, span.start), min(start + step, span.stop))


def _known(pixels: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    if nodata is None:
        return np.ones(pixels.shape[:2], np.bool_)
    missing = np.isnan(pixels) if np.isnan(nodata) else pixels == nodata
    return ~missing.all(axis=-1)
