"""Draw patches of training images for the calibration of int8 engines."""

from collections.abc import Iterator, Sequence
from math import ceil
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskwright.data.pairs import Pair
from maskwright.images.read import read_image
from maskwright.inference.bundle import Bundle
from maskwright.inference.predict_image import prepare_image

MAX_PATCHES: Final = 300
"""Largest number of calibration patches; more patches do not change the measured value ranges."""
MAX_PIXELS: Final = 8_000_000
"""Largest total number of pixels in all patches, which limits the calibration time."""
MAX_SIDE: Final = 256
"""Largest side of a patch in pixels; with small patches, more images are covered in the same time."""


def calibration_patches(pairs: Sequence[Pair], bundle: Bundle, *, seed: int = 0) -> Iterator[NDArray[np.float32]]:
    """Yield preprocessed patches (1, h, w, c), which are drawn evenly from the images of ``pairs``.

    At least one patch is yielded, and at most `MAX_PATCHES` patches with at most `MAX_PIXELS` pixels in total.

    Raises:
        InputError: An image cannot be read.
    """
    rng = np.random.default_rng(seed)
    taken = pixels = 0
    for index in rng.permutation(len(pairs)):
        image = read_image(pairs[index].image)
        height, width = (min(side, MAX_SIDE, bundle.tile) for side in image.shape[:2])
        patches_in_image = image.shape[0] * image.shape[1] // (height * width)
        for _ in range(min(patches_in_image, ceil(MAX_PATCHES / len(pairs)))):
            if taken == MAX_PATCHES or (taken and pixels + height * width > MAX_PIXELS):
                return
            top, left = (
                rng.integers(0, whole - part + 1) for whole, part in zip(image.shape[:2], (height, width), strict=True)
            )
            patch = image[top : top + height, left : left + width]
            yield prepare_image(bundle, patch, file=pairs[index].image)[None]
            taken, pixels = taken + 1, pixels + height * width
