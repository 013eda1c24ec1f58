"""Pixels at another size, smoothly."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Number = TypeVar("Number", bound=np.generic)

FAST_CHANNELS = (1, 3)
"""Of 8-bit images, which Pillow resizes at once; others go channel by channel, as floats."""


def resized(image: NDArray[Number], size: tuple[int, int]) -> NDArray[Number]:
    """An image (h, w, c) at ``size`` (height, width), of the same type; where it shrinks, pixels are averaged.

    >>> resized(np.array([[[0], [100]]], np.uint8), (1, 4)).ravel().tolist()
    [0, 25, 75, 100]
    """
    if image.shape[:2] == size:
        return image
    if image.dtype == np.uint8 and image.shape[-1] in FAST_CHANNELS:
        picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
        return np.asarray(picture.resize(size[::-1], Image.Resampling.BILINEAR)).reshape(*size, -1)
    bands = (Image.fromarray(image[..., band].astype(np.float32)) for band in range(image.shape[-1]))
    stack = np.stack([np.asarray(band.resize(size[::-1], Image.Resampling.BILINEAR)) for band in bands], axis=-1)
    return (stack if image.dtype.kind == "f" else stack.round()).astype(image.dtype)
