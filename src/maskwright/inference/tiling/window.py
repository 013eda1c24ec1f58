"""Read one window of an image and prepare it for the network, whether the image is a file or an array."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from maskwright.images.windows.errors import UnreadableWindow
from maskwright.inference.bundle import Bundle
from maskwright.inference.tiling.padding import padded_coordinates, reflect_to_window

Pixels = NDArray[np.generic]


class WindowSource(Protocol):
    """The part of the `maskwright.images.windows.Source` protocol that prediction requires."""

    height: int
    width: int
    channels: int
    dtype: np.dtype[Any]
    nodata: float | None
    block: tuple[int, int]

    def read(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Return the pixels (h, w, channels) of a window inside the image; may raise `UnreadableWindow`."""
        ...

    def valid(self, rows: slice, columns: slice) -> NDArray[np.bool_]:
        """Return which pixels (h, w) of a window inside the image are valid; may raise `UnreadableWindow`."""
        ...


class WindowFailure(NamedTuple):
    """A part of an image that cannot be read, with half-open ranges of rows and columns and the reason."""

    rows: tuple[int, int]
    columns: tuple[int, int]
    found: str


class Window(NamedTuple):
    """A window that is prepared for an engine."""

    images: NDArray[np.float32]
    """Batch of one window, (1, h, w, c), whose invalid pixels are set to the mean pixel of the training images."""
    valid: NDArray[np.bool_]
    """Mask (h, w) of valid pixels, which are neither nodata nor transparent nor unreadable."""
    failures: tuple[WindowFailure, ...]


def read_window(source: WindowSource, bundle: Bundle, *, rows: slice, columns: slice, file: str | Path) -> Window:
    """Read a window, which may exceed the lower and right image borders by less than the multiple of the network.

    If the image has an alpha channel and the network does not accept one, pixels with an alpha of 0 are invalid.

    Raises:
        WrongPixels, WrongChannels: The image has a data type or channels that the network does not accept.
    """
    inside = slice(rows.start, min(rows.stop, source.height)), slice(columns.start, min(columns.stop, source.width))
    pixels, valid, failures = _read(source, *inside)
    if drops_alpha(source.channels, bundle):
        transparent = pixels[..., -1] == 0
        pixels = np.where(transparent[..., None], opaque(pixels.dtype), pixels)
        valid = valid & ~transparent
    prepared = prepare_window(pixels, bundle, rows=rows, columns=columns, size=(source.height, source.width), file=file)
    if not valid.all():
        valid = reflect_to_window(valid, rows, columns)
        prepared[~valid] = 0
    else:
        valid = np.ones(prepared.shape[:2], np.bool_)
    return Window(prepared[None], valid, failures)


def prepare_window(
    pixels: Pixels, bundle: Bundle, *, rows: slice, columns: slice, size: tuple[int, int], file: str | Path
) -> NDArray[np.float32]:
    """Reflect the pixels of a window beyond the image's borders and prepare them for the network, (h, w, inputs).

    Args:
        pixels: Pixels (h, w, c) of the part of the window that is inside the image.
        bundle: Bundle of the network.
        rows: Row range of the window, which may extend to the next multiple of the network beyond the image.
        columns: Column range of the window, which may extend to the next multiple of the network beyond the image.
        size: Height and width of the image in pixels, to which the coordinate channels refer.
        file: Path of the image, used in error messages.

    Raises:
        WrongPixels, WrongChannels: The image has a data type or channels that the network does not accept.
    """
    coordinates = None
    if bundle.coord_channels:
        coordinates = padded_coordinates(size[0], rows), padded_coordinates(size[1], columns)
    return bundle.prepare(reflect_to_window(pixels, rows, columns), file=file, coordinates=coordinates)


def drops_alpha(channels: int, bundle: Bundle) -> bool:
    """Return whether images of ``channels`` channels have an alpha channel that the network does not accept."""
    return channels in (2, 4) and bundle.channels < channels


def opaque(dtype: np.dtype[Any]) -> Any:
    """Return the alpha value of an opaque pixel."""
    return dtype.type(np.iinfo(dtype).max if dtype.kind in "iu" else 1)


def _read(
    source: WindowSource, rows: slice, columns: slice
) -> tuple[NDArray[Any], NDArray[np.bool_], tuple[WindowFailure, ...]]:
    try:
        pixels = source.read(rows, columns)
        return pixels, _has_data(pixels, source.nodata) & source.valid(rows, columns), ()
    except UnreadableWindow:
        return _read_by_tiles(source, rows, columns)


def _read_by_tiles(
    source: WindowSource, rows: slice, columns: slice
) -> tuple[NDArray[Any], NDArray[np.bool_], tuple[WindowFailure, ...]]:
    """Read a window tile by tile of the file, so that an unreadable tile does not affect the others."""
    shape = rows.stop - rows.start, columns.stop - columns.start
    # Unreadable pixels are marked as opaque, since partly transparent images are rejected.
    pixels = np.full((*shape, source.channels), opaque(source.dtype), source.dtype)
    valid, failures = np.zeros(shape, np.bool_), []
    for tile_rows in _tile_spans(rows, source.block[0]):
        for tile_columns in _tile_spans(columns, source.block[1]):
            inside = (
                slice(tile_rows.start - rows.start, tile_rows.stop - rows.start),
                slice(tile_columns.start - columns.start, tile_columns.stop - columns.start),
            )
            try:
                pixels[inside] = source.read(tile_rows, tile_columns)
                valid[inside] = _has_data(pixels[inside], source.nodata) & source.valid(tile_rows, tile_columns)
            except UnreadableWindow as error:
                failures.append(_window_failure(error))
    return pixels, valid, tuple(failures)


def _window_failure(error: UnreadableWindow) -> WindowFailure:
    fields: dict[str, Any] = error.fields
    rows, columns = fields["rows"], fields["columns"]
    return WindowFailure(
        (int(rows.start), int(rows.stop)), (int(columns.start), int(columns.stop)), str(fields["found"])
    )


def _tile_spans(span: slice, step: int) -> Iterator[slice]:
    for start in range(span.start - span.start % step, span.stop, step):
        yield slice(max(start, span.start), min(start + step, span.stop))


def _has_data(pixels: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    if nodata is None:
        return np.ones(pixels.shape[:2], np.bool_)
    missing = np.isnan(pixels) if np.isnan(nodata) else pixels == nodata
    return ~missing.all(axis=-1)
