"""From samples as a file stores them to the pixels that `read_image` gives, window by window."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from maskwright.images.errors import ImageTooLarge, NotAnImage
from maskwright.images.read import to_pixels
from maskwright.images.samples import Stored

LARGEST_SIDE: Final = 2**24
"""Most rows, and most columns, of an image read by window."""
MOST_CHANNELS: Final = 1024


class Interpreter:
    """Turns samples (h, w, c) of one file into pixels; the file's missing value is told apart even where it is NaN.

    ``store`` says what the samples mean, and ``nodata`` which of them are missing. ``channels`` and ``dtype`` are those
    of the pixels, and ``nodata`` is the missing value among them: the file's own, NaN where 32-bit floats cannot hold
    it, None where no pixel can have it or it is the index of a colour.

    Raises:
        UnsupportedPixels: samples of this type have no meaning as pixels.
    """

    def __init__(
        self,
        file: Path,
        store: Callable[[np.ndarray], Stored],
        *,
        dtype: np.dtype,
        channels: int,
        nodata: float | None = None,
    ) -> None:
        self._file, self._store = file, store
        self._missing = _held(nodata, dtype)
        example = np.full((1, 1, channels), 0 if self._missing is None else self._missing, dtype)
        with_palette = store(example).palette is not None
        pixels = self._pixels(np.zeros_like(example))
        self.channels: int = pixels.shape[2]
        self.dtype: np.dtype = pixels.dtype
        self.nodata: float | None = None
        if self._missing is not None and not with_palette:
            self.nodata = self._shown(example)

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Pixels (h, w, channels) of a window.

        Raises:
            UnsupportedPixels, NonFinitePixels: as `read_image` does, but missing pixels may hold anything.
        """
        if self.nodata is None or self.dtype.kind != "f":
            return self._pixels(samples)
        hidden = _equal(samples, self._missing)
        pixels = self._pixels(np.where(hidden, samples.dtype.type(0), samples))
        pixels[hidden] = self.nodata
        return pixels

    def _pixels(self, samples: np.ndarray) -> np.ndarray:
        return to_pixels(self._file, self._store(samples))

    def _shown(self, example: np.ndarray) -> float:
        if self.dtype.kind != "f":
            return float(self._pixels(example)[0, 0, 0])
        with np.errstate(over="ignore"):
            value = float(example.astype(np.float32)[0, 0, 0])
        return value if math.isfinite(value) and value == example[0, 0, 0] else math.nan


def plain(samples: np.ndarray) -> Stored:
    """Samples of an array, which means what it holds; booleans are pixels of 1 bit."""
    if samples.dtype == bool:
        return Stored(samples.astype(np.uint8), 1, 1)
    return Stored(samples, 8 * samples.dtype.itemsize, 1)


def check_bounds(file: Path, *, height: int, width: int, channels: int) -> None:
    """Refuse sizes that no real image has, before anything is made of them.

    Raises:
        ImageTooLarge: a side above ``LARGEST_SIDE``, or more than ``MOST_CHANNELS`` channels.
        NotAnImage: a size of nothing.
    """
    found = f"{height} x {width} pixels of {channels} channels"
    if min(height, width, channels) < 1:
        raise NotAnImage(file=file, found=found, expected="at least one of each", remedy="Copy or export it again.")
    if max(height, width) > LARGEST_SIDE or channels > MOST_CHANNELS:
        raise ImageTooLarge(
            file=file,
            found=found,
            expected=f"sides of at most {LARGEST_SIDE} and at most {MOST_CHANNELS} channels, which go last",
            remedy="Cut the image, if the size is true; else its header is damaged, or its axes are in another order.",
        )


def _held(nodata: float | None, dtype: np.dtype) -> float | int | None:
    """``nodata`` as samples of ``dtype`` hold it, or None where none can."""
    if nodata is None or dtype.kind not in "iuf":
        return None
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return float(dtype.type(nodata))
    bounds = np.iinfo(dtype)
    held = math.isfinite(nodata) and nodata == int(nodata) and bounds.min <= nodata <= bounds.max
    return int(nodata) if held else None


def _equal(samples: np.ndarray, value: float | int | None) -> np.ndarray:
    return np.isnan(samples) if isinstance(value, float) and math.isnan(value) else samples == value
