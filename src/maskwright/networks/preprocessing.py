"""What an encoder wants its pixels to be, as data: the order of channels, a scale, a mean and a deviation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maskwright.errors import wrong_argument

ChannelOrder = Literal["RGB", "BGR"]


@dataclass(frozen=True)
class Preprocessing:
    """From RGB pixels in 0-255 to what an encoder was trained on: ``(scale * pixels - mean) / std`` of each channel.

    ``mean`` and ``std`` hold a number a channel, in the order ``channels``, or one number for all channels.

    >>> Preprocessing(scale=1 / 127.5, mean=(1.0,))([[0, 127.5, 255]])
    array([[-1.,  0.,  1.]], dtype=float32)
    """

    channels: ChannelOrder = "RGB"
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    @property
    def unit_mean(self) -> tuple[float, ...]:
        """What to take from pixels in [0, 1], already in the order ``channels``.

        ``(pixels / 255 - unit_mean) / unit_std`` is what calling the record gives.
        """
        return tuple(mean / (255 * self.scale) for mean in self.mean)

    @property
    def unit_std(self) -> tuple[float, ...]:
        """What to divide pixels in [0, 1] by, after `unit_mean`."""
        return tuple(std / (255 * self.scale) for std in self.std)

    def __call__(self, pixels: ArrayLike) -> NDArray[np.float32]:
        """The pixels an encoder takes, shape unchanged, float32; the given array is left as it is.

        Args:
            pixels: RGB images (..., channels) in 0-255, of any dtype. Three channels, or any number of them where the
                record treats every channel alike.

        Raises:
            WrongArgument: there are not three channels, and the record is of red, green and blue.
        """
        pixels = np.asarray(pixels, dtype=np.float32)
        of_rgb = self.channels == "BGR" or max(len(self.mean), len(self.std)) > 1
        if pixels.ndim == 0 or (of_rgb and pixels.shape[-1] != 3):
            raise wrong_argument("pixels", pixels.shape, expected="an array of RGB images, shape (..., 3)")
        if self.channels == "BGR":
            pixels = pixels[..., ::-1]
        return (pixels * _float32([self.scale]) - _float32(self.mean)) / _float32(self.std)


def _float32(values: Sequence[float]) -> NDArray[np.float32]:
    return np.asarray(values, dtype=np.float32)


RAW: Final = Preprocessing()
MINUS_ONE_TO_ONE: Final = Preprocessing(scale=1 / 127.5, mean=(1.0,))
MINUS_ONE_TO_ALMOST_ONE: Final = Preprocessing(scale=1 / 128, mean=(1.0,))
# Means and deviations of ImageNet's training images, on [0, 1], and the means of the VGGs, on 0-255.
IMAGENET: Final = Preprocessing(scale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
BGR_MEANS: Final = Preprocessing(channels="BGR", mean=(103.939, 116.779, 123.68))
