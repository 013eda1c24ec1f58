"""Bilinear resizing of images."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Number = TypeVar("Number", bound=np.generic)

FAST_CHANNELS = (1, 3)
"""Numbers of channels of 8-bit images that Pillow resizes in one call; others are resized one channel at a time."""


def resized(image: NDArray[Number], size: tuple[int, int]) -> NDArray[Number]:
    """Resize an image (h, w, c) to ``size`` (height, width) in the same data type, averaging pixels if it is reduced.

    >>> resized(np.array([[[0], [100]]], np.uint8), (1, 4)).ravel().tolist()
    [0, 25, 75, 100]
    """
    if image.shape[:2] == size:
        return image
    if image.dtype == np.uint8 and image.shape[-1] in FAST_CHANNELS:
        picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
        return np.asarray(picture.resize(size[::-1], Image.Resampling.BILINEAR)).reshape(*size, -1)
    channels = (Image.fromarray(image[..., channel].astype(np.float32)) for channel in range(image.shape[-1]))
    stack = np.stack([np.asarray(plane.resize(size[::-1], Image.Resampling.BILINEAR)) for plane in channels], axis=-1)
    return (stack if image.dtype.kind == "f" else stack.round()).astype(image.dtype)
