"""Convert stored samples to the pixels of `read_image`, window by window."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from maskwright.images.errors import ImageTooLarge, NotAnImage
from maskwright.images.raw_image import RawImage
from maskwright.images.read import to_pixels

MAX_SIDE: Final = 2**24
"""Largest height or width, in pixels, of an image that is read window by window."""
MAX_CHANNELS: Final = 1024


class PixelConverter:
    """A converter of samples (h, w, c) of one file to pixels, in which nodata remains recognisable, even if it is NaN.

    Args:
        file: Path of the image, used in error messages.
        to_raw: Function that adds the bit depth, orientation and palette to samples.
        dtype: Data type of the samples.
        channels: Number of channels of the samples.
        nodata: Sample value that marks missing pixels, or None if there is no such value.

    Attributes:
        channels: Number of channels of the pixels.
        dtype: Data type of the pixels.
        nodata: Pixel value that marks missing pixels: the value in the file, or NaN if 32-bit floats cannot represent
            it. None if no pixel can have this value or if it is a palette index.

    Raises:
        UnsupportedPixels: Samples of this type cannot be converted to pixels.
    """

    def __init__(
        self,
        file: Path,
        to_raw: Callable[[np.ndarray], RawImage],
        *,
        dtype: np.dtype,
        channels: int,
        nodata: float | None = None,
    ) -> None:
        self._file, self._to_raw = file, to_raw
        self._nodata_sample = _representable(nodata, dtype)
        example = np.full((1, 1, channels), 0 if self._nodata_sample is None else self._nodata_sample, dtype)
        has_palette = to_raw(example).palette is not None
        pixels = self._pixels(np.zeros_like(example))
        self.channels: int = pixels.shape[2]
        self.dtype: np.dtype = pixels.dtype
        self.nodata: float | None = None
        if self._nodata_sample is not None and not has_palette:
            self.nodata = self._pixel_value(example)

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Convert the samples of a window to pixels (h, w, channels).

        Raises:
            UnsupportedPixels: A pixel that is not missing cannot be converted; see `read_image`.
        """
        if self.nodata is None or self.dtype.kind != "f":
            return self._pixels(samples)
        is_missing = _equal(samples, self._nodata_sample)
        pixels = self._pixels(np.where(is_missing, samples.dtype.type(0), samples))
        pixels[is_missing] = self.nodata
        return pixels

    def _pixels(self, samples: np.ndarray) -> np.ndarray:
        return to_pixels(self._file, self._to_raw(samples))

    def _pixel_value(self, example: np.ndarray) -> float:
        if self.dtype.kind != "f":
            return float(self._pixels(example)[0, 0, 0])
        with np.errstate(over="ignore"):
            value = float(example.astype(np.float32)[0, 0, 0])
        return value if math.isfinite(value) and value == example[0, 0, 0] else math.nan


def to_plain_raw(samples: np.ndarray) -> RawImage:
    """Return samples as a `RawImage` without orientation or palette; booleans have a bit depth of 1."""
    if samples.dtype == bool:
        return RawImage(samples.astype(np.uint8), 1, 1)
    return RawImage(samples, 8 * samples.dtype.itemsize, 1)


def check_bounds(file: Path, *, height: int, width: int, channels: int) -> None:
    """Check the image size in a file header before memory is allocated.

    Raises:
        ImageTooLarge: A side of the image exceeds ``MAX_SIDE``, or the number of channels exceeds ``MAX_CHANNELS``.
        NotAnImage: A side of the image or the number of channels is zero.
    """
    found = f"{height} x {width} pixels of {channels} channels"
    if min(height, width, channels) < 1:
        raise NotAnImage(file=file, found=found, expected="at least one of each", remedy="Copy or export it again.")
    if max(height, width) > MAX_SIDE or channels > MAX_CHANNELS:
        raise ImageTooLarge(
            file=file,
            found=found,
            expected=f"sides of at most {MAX_SIDE} and at most {MAX_CHANNELS} channels, channels last",
            remedy="Cut the image if the size is right; otherwise check its header and the order of its axes.",
        )


def _representable(nodata: float | None, dtype: np.dtype) -> float | int | None:
    """Return ``nodata`` as a value of ``dtype``, or None if it cannot be represented."""
    if nodata is None or dtype.kind not in "iuf":
        return None
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return float(dtype.type(nodata))
    bounds = np.iinfo(dtype)
    fits = math.isfinite(nodata) and nodata == int(nodata) and bounds.min <= nodata <= bounds.max
    return int(nodata) if fits else None


def _equal(samples: np.ndarray, value: float | int | None) -> np.ndarray:
    return np.isnan(samples) if isinstance(value, float) and math.isnan(value) else samples == value
