"""Preprocessing of images for an encoder: channel order, scale, mean and standard deviation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maskwright.errors import wrong_argument

ChannelOrder = Literal["RGB", "BGR"]


@dataclass(frozen=True)
class Preprocessing:
    """Conversion of RGB pixels in 0-255 to the input of an encoder: ``(scale * pixels - mean) / std`` per channel.

    ``mean`` and ``std`` contain one number per channel, in the order ``channels``, or one number for all channels.

    >>> Preprocessing(scale=1 / 127.5, mean=(1.0,))([[0, 127.5, 255]])
    array([[-1.,  0.,  1.]], dtype=float32)
    """

    channels: ChannelOrder = "RGB"
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    @property
    def unit_mean(self) -> tuple[float, ...]:
        """Mean of pixels in [0, 1], in the order ``channels``.

        ``(pixels / 255 - unit_mean) / unit_std`` equals the result of calling this `Preprocessing`.
        """
        return tuple(mean / (255 * self.scale) for mean in self.mean)

    @property
    def unit_std(self) -> tuple[float, ...]:
        """Standard deviation of pixels in [0, 1], in the order ``channels``."""
        return tuple(std / (255 * self.scale) for std in self.std)

    def __call__(self, pixels: ArrayLike) -> NDArray[np.float32]:
        """Return preprocessed images as a float32 array of the same shape.

        Args:
            pixels: RGB images (..., channels) in 0-255, of any dtype. The number of channels is three, or any number if
                all channels are treated alike.

        Raises:
            WrongArgument: The channels are treated differently, and the images do not have three channels.
        """
        pixels = np.asarray(pixels, dtype=np.float32)
        needs_rgb = self.channels == "BGR" or max(len(self.mean), len(self.std)) > 1
        if pixels.ndim == 0 or (needs_rgb and pixels.shape[-1] != 3):
            raise wrong_argument("pixels", pixels.shape, expected="an array of RGB images, shape (..., 3)")
        if self.channels == "BGR":
            pixels = pixels[..., ::-1]
        return (pixels * _float32([self.scale]) - _float32(self.mean)) / _float32(self.std)


def _float32(values: Sequence[float]) -> NDArray[np.float32]:
    return np.asarray(values, dtype=np.float32)


RAW: Final = Preprocessing()
MINUS_ONE_TO_ONE: Final = Preprocessing(scale=1 / 127.5, mean=(1.0,))
MINUS_ONE_TO_ALMOST_ONE: Final = Preprocessing(scale=1 / 128, mean=(1.0,))
# Mean and standard deviation of ImageNet pixels in [0, 1], and the mean of pixels in 0-255 used by the VGG networks.
IMAGENET: Final = Preprocessing(scale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
BGR_MEANS: Final = Preprocessing(channels="BGR", mean=(103.939, 116.779, 123.68))
