"""From stored pixels to the numbers a network sees: first the unit scale, then zero mean and unit spread."""

from collections.abc import Iterable
from typing import Annotated, Final, Self

import numpy as np
from pydantic import BaseModel, Field, FiniteFloat, model_validator

from maskwright.errors import InputError, wrong_argument

Spread = Annotated[FiniteFloat, Field(gt=0)]

# Far below half a step of a 16-bit image (7.6e-6): a channel that varies less than this does not vary.
_CONSTANT: Final = 1e-7
# Pixels, in whole rows, whose squares or deviations are held at once while measuring.
_STRIP: Final = 2**20
_SQUARES: Final = {"uint8": np.uint16, "uint16": np.uint32}  # what holds them


class MixedPixels(InputError):
    """Images of one set that share no scale."""

    text = "images: found {found}; expected {expected}. {remedy}"


class Normalisation(BaseModel, frozen=True, extra="forbid"):
    """The range of float pixels, and the mean and spread of every channel in the unit scale.

    >>> normalisation = Normalisation(mean=(0.5,), std=(0.25,))
    >>> normalisation(np.array([[[0], [255]]], "uint8")).ravel()
    array([-2.,  2.], dtype=float32)
    """

    low: FiniteFloat = Field(default=0.0, description="Float pixel value that becomes 0; integers use their own range.")
    high: FiniteFloat = Field(default=1.0, description="Float pixel value that becomes 1.")
    mean: tuple[FiniteFloat, ...] = Field(min_length=1, description="Mean of each channel, unit scale.")
    std: tuple[Spread, ...] = Field(min_length=1, description="Standard deviation of each channel, unit scale.")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low={self.low} is not below high={self.high}")
        if len(self.mean) != len(self.std):
            raise ValueError(
                f"{len(self.mean)} means and {len(self.std)} standard deviations; expected one of each a channel"
            )
        return self

    @property
    def channels(self) -> int:
        """Number of channels of the images this is for."""
        return len(self.mean)

    def to_unit(self, image: np.ndarray) -> np.ndarray:
        """``image`` as float32 in the unit scale, same shape: uint8 / 255, uint16 / 65535, floats from low..high.

        Integers land in [0, 1]; floats outside low..high land outside, so that a brighter image stays brighter.

        Raises:
            WrongArgument: pixels of another type.
        """
        if image.dtype in (np.uint8, np.uint16):
            unit = image.astype(np.float32)
            unit /= np.float32(np.iinfo(image.dtype).max)
            return unit
        if np.issubdtype(image.dtype, np.floating):
            return ((image - self.low) / (self.high - self.low)).astype(np.float32)
        raise wrong_argument("image", f"array of {image.dtype}", expected="pixels of uint8, uint16 or float32")

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """``(unit - mean) / std`` of an image or a batch, (..., channels), as float32.

        Raises:
            WrongArgument: the last axis does not hold the channels of ``mean``, or the pixels are of another type.
        """
        if image.ndim < 1 or image.shape[-1] != self.channels:
            raise wrong_argument("image", f"array of shape {image.shape}", expected=f"{self.channels} channels, last")
        unit = self.to_unit(image)
        return self.standardise(unit, out=unit)

    def standardise(self, unit: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
        """``(unit - mean) / std`` of pixels in the unit scale, (..., channels), as float32; over ``out``, if given."""
        # By whole rows, which takes a fifth of the time that NumPy takes by the few channels of a pixel.
        width = unit.shape[-2] if unit.ndim > 1 else 1
        rows = unit.reshape(*unit.shape[:-2], width * self.channels)
        standard = np.subtract(
            rows, np.tile(np.array(self.mean, np.float32), width), out=None if out is None else out.reshape(rows.shape)
        )
        standard /= np.tile(np.array(self.std, np.float32), width)
        return standard.reshape(unit.shape)

    @classmethod
    def measure(cls, images: Iterable[np.ndarray]) -> Self:
        """The normalisation of a set of images (h, w, c), taken once and one at a time.

        Mean and standard deviation (of the population) weigh every pixel alike, whatever the sizes of the images.
        For float images low and high are the least and greatest values. A channel that does not vary gets 1 as its
        standard deviation, so that it becomes 0 and not infinite.

        Raises:
            MixedPixels: there is no image, or channels differ, or float images stand among integer ones.

        >>> Normalisation.measure([np.zeros((1, 3, 1), "uint8"), np.full((1, 1, 1), 255, "uint8")]).mean
        (0.25,)
        """
        return cls.model_validate(_measured(images))


def _measured(images: Iterable[np.ndarray]) -> dict[str, object]:
    seen: set[tuple[str, int]] = set()
    low, high = np.inf, -np.inf
    count, mean, squares = 0, np.zeros(()), np.zeros(())  # squares: summed squared deviations from the mean
    for image in images:
        floats = np.issubdtype(image.dtype, np.floating)
        seen.add(("float" if floats else "integer", image.shape[-1]))
        if len(seen) > 1:
            raise MixedPixels(
                found=" and ".join(f"{kind} images of {channels} channels" for kind, channels in sorted(seen)),
                expected="one kind of pixels and one number of channels",
                remedy="Convert them to one kind, or keep the kinds in separate sets.",
            )
        if not image.size:
            continue
        if floats:
            low, high = min(low, float(image.min())), max(high, float(image.max()))
        elif image.dtype.name not in _SQUARES:
            raise wrong_argument("images", f"pixels of {image.dtype}", expected="uint8, uint16 or floats")
        step = max(1, _STRIP // image.shape[1])
        for top in range(0, len(image), step):
            size, middle, deviations = (_of_floats if floats else _of_integers)(image[top : top + step])
            # Chan, Golub and LeVeque (1979): sums of two parts combine without loss of precision.
            shift = middle - mean
            total = count + size
            mean = mean + shift * (size / total)
            squares = squares + deviations + shift**2 * (count * size / total)
            count = total
    if not count:
        raise MixedPixels(found="no images", expected="at least one", remedy="Give the training images.")
    std = np.sqrt(squares / count)
    if not np.isfinite(low):
        low, high = 0.0, 1.0
    span = high - low or 1.0
    unit_std = std / span
    return {
        "low": low,
        "high": low + span,
        "mean": tuple(((mean - low) / span).tolist()),
        "std": tuple(np.where(unit_std > _CONSTANT, unit_std, 1.0).tolist()),
    }


def _of_floats(rows: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """How many pixels rows of an image (h, w, c) have, their mean, and the sum of their squared deviations from it."""
    pixels = rows.reshape(-1, rows.shape[-1]).astype(np.float64)
    return len(pixels), pixels.mean(axis=0), pixels.var(axis=0) * len(pixels)


def _of_integers(rows: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """The same of integers in the unit scale, by exact sums, which take a tenth of the time."""
    height, width, channels = rows.shape
    size, largest = height * width, int(np.iinfo(rows.dtype).max)
    flat = rows.reshape(height, width * channels)  # since sums over the few channels of a pixel take long

    def total(of: np.ndarray) -> list[int]:
        each: list[int] = of.sum(axis=0, dtype=np.uint64).reshape(width, channels).sum(axis=0).tolist()
        return each

    sums, squares = total(flat), total(np.multiply(flat, flat, dtype=_SQUARES[rows.dtype.name]))
    mean = [one / size / largest for one in sums]
    deviations = [(size * square - one * one) / size / largest**2 for one, square in zip(sums, squares, strict=True)]
    return size, np.array(mean), np.array(deviations)
