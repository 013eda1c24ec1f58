"""Where in its image a pixel lies, as further channels: what is deep in the ground or high in the sky looks like it.

Liu et al., "An intriguing failing of convolutional neural networks and the CoordConv solution" (2018); with depth times
image, the channels that winners of the TGS salt challenge used.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

CoordChannel = Literal["row", "column", "row_times_image"]
"""Height of a pixel, how far right it is, both from -1 to 1, and its height times its value in each image channel."""


def ramp(length: int) -> NDArray[np.float32]:
    """Places along an axis: the middle of each of ``length`` pixels, from -1 to 1.

    >>> ramp(4).tolist()
    [-0.75, -0.25, 0.25, 0.75]
    """
    return ((2 * np.arange(length, dtype=np.float32) + 1) / length - 1).astype(np.float32)


def extra_channels(kinds: Sequence[CoordChannel], channels: int) -> int:
    """How many channels ``kinds`` add to images of so many."""
    return sum(channels if kind == "row_times_image" else 1 for kind in kinds)


def add_coord_channels(
    images: NDArray[np.float32], kinds: Sequence[CoordChannel], rows: NDArray[np.float32], columns: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Images (..., h, w, c) with the channels of ``kinds`` behind their own.

    Args:
        images: Normalised pixels.
        kinds: What to add, in this order.
        rows: Place of each pixel from top to bottom, of a shape that broadcasts to (..., h, w).
        columns: Likewise from left to right.
    """
    if not kinds:
        return images
    shape = images.shape[:-1]
    down, across = (np.broadcast_to(places, shape)[..., None] for places in (rows, columns))
    made = {"row": down, "column": across, "row_times_image": images * down}
    return np.concatenate([images, *(made[kind] for kind in kinds)], axis=-1, dtype=np.float32)
