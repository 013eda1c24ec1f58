"""From stored pixels to the numbers a network sees: first the unit scale, then zero mean and unit spread."""

from collections.abc import Iterable
from typing import Annotated, Final, Self

import numpy as np
from pydantic import BaseModel, Field, FiniteFloat, model_validator

from maskwright.errors import InputError, wrong_argument

Spread = Annotated[FiniteFloat, Field(gt=0)]

# Far below half a step of a 16-bit image (7.6e-6): a channel that varies less than this does not vary.
_CONSTANT: Final = 1e-7
# Pixels whose deviations are held in double precision at once while measuring.
_STRIP: Final = 2**20


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
        """The normalisation of a set of images (h, w, c), read once and one at a time.

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
        scale = 1.0 if floats else float(np.iinfo(image.dtype).max)
        if floats:
            low, high = min(low, float(image.min())), max(high, float(image.max()))
        pixels = image.reshape(-1, image.shape[-1])
        for start in range(0, len(pixels), _STRIP):
            strip = pixels[start : start + _STRIP] / np.float64(scale)
            # Chan, Golub and LeVeque (1979): sums of two parts combine without loss of precision.
            shift = strip.mean(axis=0) - mean
            total = count + len(strip)
            mean = mean + shift * (len(strip) / total)
            squares = squares + strip.var(axis=0) * len(strip) + shift**2 * (count * len(strip) / total)
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
