"""What a network is calibrated on: patches of a run's own training images."""

from collections.abc import Iterator, Sequence
from math import ceil
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskwright.data.pairs import Pair
from maskwright.images.read import read_image
from maskwright.inference.bundle import Bundle
from maskwright.inference.predict_image import prepared_whole

MOST: Final = 300
"""Patches; more change the ranges of values no further."""
PIXELS: Final = 8_000_000
"""In all patches together, which is what bounds the time."""
SIDE: Final = 256
"""Of a patch: of larger images a part is taken, so that the same time shows more of them."""


def calibration_patches(pairs: Sequence[Pair], bundle: Bundle, *, seed: int = 0) -> Iterator[NDArray[np.float32]]:
    """Prepared patches, (1, h, w, c), drawn evenly from the images of ``pairs``, of sides the bundle allows.

    At most `MOST`, and no more than `PIXELS` together, but at least one.

    Raises:
        InputError: An image cannot be read any more.
    """
    rng = np.random.default_rng(seed)
    taken = pixels = 0
    for place in rng.permutation(len(pairs)):
        image = read_image(pairs[place].image)
        height, width = (min(side, SIDE, bundle.tile) for side in image.shape[:2])
        held = image.shape[0] * image.shape[1] // (height * width)
        for _ in range(min(held, ceil(MOST / len(pairs)))):
            if taken == MOST or (taken and pixels + height * width > PIXELS):
                return
            top, left = (
                rng.integers(0, whole - part + 1) for whole, part in zip(image.shape[:2], (height, width), strict=True)
            )
            patch = image[top : top + height, left : left + width]
            yield prepared_whole(bundle, patch, file=pairs[place].image)[None]
            taken, pixels = taken + 1, pixels + height * width
