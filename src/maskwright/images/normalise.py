"""Normalise stored pixels for the network: first to the unit scale, then to zero mean and unit variance."""

from collections.abc import Iterable
from typing import Annotated, Final, Self

import numpy as np
from pydantic import BaseModel, Field, FiniteFloat, model_validator

from maskwright.errors import InputError, wrong_argument

PositiveFloat = Annotated[FiniteFloat, Field(gt=0)]

# Standard deviation below which a channel counts as constant, far below half a step of a 16-bit image (7.6e-6).
_MAX_CONSTANT_STD: Final = 1e-7
# Number of pixels, in whole rows, that are measured at once.
_PIXELS_AT_ONCE: Final = 2**20
_SQUARE_DTYPES: Final = {"uint8": np.uint16, "uint16": np.uint32}


class MixedPixels(InputError):
    """Images without a common intensity scale or number of channels."""

    text = "images: found {found}; expected {expected}. {remedy}"


class Normalisation(BaseModel, frozen=True, extra="forbid"):
    """The range of float pixels, and the mean and standard deviation of each channel in the unit scale.

    >>> normalisation = Normalisation(mean=(0.5,), std=(0.25,))
    >>> normalisation(np.array([[[0], [255]]], "uint8")).ravel()
    array([-2.,  2.], dtype=float32)
    """

    low: FiniteFloat = Field(
        default=0.0, description="Float pixel value that is mapped to 0; integers use the range of their type."
    )
    high: FiniteFloat = Field(default=1.0, description="Float pixel value that is mapped to 1.")
    mean: tuple[FiniteFloat, ...] = Field(min_length=1, description="Mean of each channel in the unit scale.")
    std: tuple[PositiveFloat, ...] = Field(min_length=1, description="Standard deviation of each channel, unit scale.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low={self.low} must be below high={self.high}")
        if len(self.mean) != len(self.std):
            raise ValueError(
                f"{len(self.mean)} means and {len(self.std)} standard deviations; expected one of each per channel"
            )
        return self

    @property
    def channels(self) -> int:
        """Number of image channels."""
        return len(self.mean)

    def to_unit(self, image: np.ndarray) -> np.ndarray:
        """Convert ``image`` to float32 in the unit scale: uint8 / 255, uint16 / 65535, (floats - low) / (high - low).

        Floats outside low..high are not clipped.

        Raises:
            WrongArgument: The pixels are neither uint8, uint16 nor floats.
        """
        if image.dtype in (np.uint8, np.uint16):
            unit = image.astype(np.float32)
            unit /= np.float32(np.iinfo(image.dtype).max)
            return unit
        if np.issubdtype(image.dtype, np.floating):
            return ((image - self.low) / (self.high - self.low)).astype(np.float32)
        raise wrong_argument("image", f"array of {image.dtype}", expected="pixels of uint8, uint16 or float32")

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return ``(unit - mean) / std`` of an image or a batch, (..., channels), as float32.

        Raises:
            WrongArgument: The number of channels or the data type of the pixels is invalid.
        """
        if image.ndim < 1 or image.shape[-1] != self.channels:
            raise wrong_argument(
                "image", f"array of shape {image.shape}", expected=f"a last axis of {self.channels} channels"
            )
        unit = self.to_unit(image)
        return self.standardise(unit, out=unit)

    def standardise(self, unit: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
        """Return ``(unit - mean) / std`` of float32 pixels (..., channels) in the unit scale, in ``out`` if given."""
        # Operations on whole rows are five times as fast as operations that broadcast over a short channel axis.
        width = unit.shape[-2] if unit.ndim > 1 else 1
        rows = unit.reshape(*unit.shape[:-2], width * self.channels)
        standardised = np.subtract(
            rows, np.tile(np.array(self.mean, np.float32), width), out=None if out is None else out.reshape(rows.shape)
        )
        standardised /= np.tile(np.array(self.std, np.float32), width)
        return standardised.reshape(unit.shape)

    @classmethod
    def measure(cls, images: Iterable[np.ndarray]) -> Self:
        """Measure the normalisation of images (h, w, c) in a single pass.

        The mean and the population standard deviation are computed over the pixels of all images, so larger images have
        more weight. For float images, low and high are the minimum and maximum. A constant channel is assigned a
        standard deviation of 1, so that it is normalised to 0.

        Raises:
            MixedPixels: ``images`` is empty, the numbers of channels differ, or float and integer images are mixed.

        >>> Normalisation.measure([np.zeros((1, 3, 1), "uint8"), np.full((1, 1, 1), 255, "uint8")]).mean
        (0.25,)
        """
        return cls.model_validate(_measured(images))


def _measured(images: Iterable[np.ndarray]) -> dict[str, object]:
    kinds: set[tuple[str, int]] = set()
    low, high = np.inf, -np.inf
    count, mean, squares = 0, np.zeros(()), np.zeros(())  # squares: sum of squared deviations from the mean
    for image in images:
        floats = np.issubdtype(image.dtype, np.floating)
        kinds.add(("float" if floats else "integer", image.shape[-1]))
        if len(kinds) > 1:
            raise MixedPixels(
                found=" and ".join(f"{kind} images of {channels} channels" for kind, channels in sorted(kinds)),
                expected="one pixel type and one number of channels",
                remedy="Convert them, or use separate data sets.",
            )
        if not image.size:
            continue
        if floats:
            low, high = min(low, float(image.min())), max(high, float(image.max()))
        elif image.dtype.name not in _SQUARE_DTYPES:
            raise wrong_argument("images", f"pixels of {image.dtype}", expected="uint8, uint16 or floats")
        step = max(1, _PIXELS_AT_ONCE // image.shape[1])
        for top in range(0, len(image), step):
            size, strip_mean, deviations = (_float_moments if floats else _integer_moments)(image[top : top + step])
            # Chan, Golub and LeVeque (1979): numerically stable combination of the moments of two parts.
            shift = strip_mean - mean
            total = count + size
            mean = mean + shift * (size / total)
            squares = squares + deviations + shift**2 * (count * size / total)
            count = total
    if not count:
        raise MixedPixels(found="no images", expected="at least one", remedy="Add training images.")
    std = np.sqrt(squares / count)
    if not np.isfinite(low):
        low, high = 0.0, 1.0
    span = high - low or 1.0
    unit_std = std / span
    return {
        "low": low,
        "high": low + span,
        "mean": tuple(((mean - low) / span).tolist()),
        "std": tuple(np.where(unit_std > _MAX_CONSTANT_STD, unit_std, 1.0).tolist()),
    }


def _float_moments(rows: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """Return the number of pixels and, per channel, the mean and the sum of squared deviations of floats (h, w, c)."""
    pixels = rows.reshape(-1, rows.shape[-1]).astype(np.float64)
    return len(pixels), pixels.mean(axis=0), pixels.var(axis=0) * len(pixels)


def _integer_moments(rows: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """Compute what `_float_moments` computes, for integers in the unit scale, by exact and faster integer sums."""
    height, width, channels = rows.shape
    size, largest = height * width, int(np.iinfo(rows.dtype).max)
    flat = rows.reshape(height, width * channels)  # NumPy sums that keep a short last axis are slow

    def channel_sums(values: np.ndarray) -> list[int]:
        sums: list[int] = values.sum(axis=0, dtype=np.uint64).reshape(width, channels).sum(axis=0).tolist()
        return sums

    sums = channel_sums(flat)
    squares = channel_sums(np.multiply(flat, flat, dtype=_SQUARE_DTYPES[rows.dtype.name]))
    mean = [total / size / largest for total in sums]
    deviations = [(size * square - total**2) / size / largest**2 for total, square in zip(sums, squares, strict=True)]
    return size, np.array(mean), np.array(deviations)
