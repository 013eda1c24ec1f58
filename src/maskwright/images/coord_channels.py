"""Append coordinate channels to images, for objects whose appearance depends on their position.

Liu et al., "An intriguing failing of convolutional neural networks and the CoordConv solution" (2018). Winners of the
TGS salt challenge used the row channel and its product with the image.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

CoordChannel = Literal["row", "column", "row_times_image"]
"""The row or column coordinate of a pixel, from -1 to 1, or the product of the row coordinate and each channel."""


def ramp(length: int) -> NDArray[np.float32]:
    """Return the coordinates of ``length`` pixel centres on an axis from -1 to 1.

    >>> ramp(4).tolist()
    [-0.75, -0.25, 0.25, 0.75]
    """
    return ((2 * np.arange(length, dtype=np.float32) + 1) / length - 1).astype(np.float32)


def extra_channels(kinds: Sequence[CoordChannel], channels: int) -> int:
    """Return the number of channels that ``kinds`` append to images with ``channels`` channels."""
    return sum(channels if kind == "row_times_image" else 1 for kind in kinds)


def add_coord_channels(
    images: NDArray[np.float32], kinds: Sequence[CoordChannel], rows: NDArray[np.float32], columns: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Append coordinate channels to images (..., h, w, c).

    Args:
        images: Normalised pixels (..., h, w, c).
        kinds: Kinds of coordinate channels to append, in order.
        rows: Row coordinate of each pixel, from -1 to 1, with a shape that broadcasts to (..., h, w).
        columns: Column coordinate of each pixel, from -1 to 1, with a shape that broadcasts to (..., h, w).
    """
    if not kinds:
        return images
    shape = images.shape[:-1]
    row, column = (np.broadcast_to(coordinates, shape)[..., None] for coordinates in (rows, columns))
    channels = {"row": row, "column": column, "row_times_image": images * row}
    return np.concatenate([images, *(channels[kind] for kind in kinds)], axis=-1, dtype=np.float32)
