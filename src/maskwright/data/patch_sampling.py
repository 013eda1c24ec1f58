"""Sample a patch from an image and its mask: crop, resize, rotate and flip both identically.

Images are sampled bilinearly by Pillow, which averages pixels when an image is reduced. Masks are sampled by nearest
neighbour, so that no new labels appear. Images and masks are extended by reflection at their borders.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskwright.images.resize import FAST_CHANNELS


@dataclass(frozen=True, slots=True)
class PatchWindow:
    """Rectangle of an image that is covered by a patch, in pixels from the top left corner of the image.

    Coordinates may be fractional, and the window may extend beyond the image.
    """

    top: float
    left: float
    height: float
    width: float
    angle: float = 0.0
    """Counter-clockwise rotation of the content about the centre of the window, in degrees."""
    flip_horizontal: bool = False
    flip_vertical: bool = False


def sample_patch(
    image: NDArray[np.generic], labels: NDArray[np.uint8], window: PatchWindow, size: tuple[int, int]
) -> tuple[NDArray[np.generic], NDArray[np.uint8]]:
    """Sample the patch of an image (h, w, c) and of its mask (h, w) in ``window``, each of ``size`` (height, width).

    The data types of the image and the mask are preserved.

    >>> image = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
    >>> patch, _ = sample_patch(image, image[..., 0], PatchWindow(1, 1, 2, 2, flip_horizontal=True), (2, 2))
    >>> patch[..., 0].tolist()
    [[6, 5], [10, 9]]
    """
    bilinear = Image.Resampling.BILINEAR
    if image.dtype == np.uint8 and image.shape[-1] in FAST_CHANNELS:
        pixels = _sample(image.squeeze(-1) if image.shape[-1] == 1 else image, window, size, bilinear)
    else:
        channels = (image[..., channel] for channel in range(image.shape[-1]))
        pixels = np.stack([_sample(channel, window, size, bilinear) for channel in channels], axis=-1)
        pixels = (pixels if image.dtype.kind == "f" else pixels.round()).astype(image.dtype)
    mask = _sample(labels, window, size, Image.Resampling.NEAREST).astype(np.uint8, copy=False)
    return pixels.reshape(*size, -1), mask


def reflected(indices: NDArray[np.integer], length: int) -> NDArray[np.integer]:
    """Map indices along an axis into [0, ``length``) by reflection; the border pixels are not repeated.

    >>> reflected(np.arange(-3, 6), 3).tolist()
    [1, 2, 1, 0, 1, 2, 1, 0, 1]
    """
    period = max(1, 2 * (length - 1))
    folded = indices % period
    return np.minimum(folded, period - folded) if length > 1 else np.zeros_like(indices)


def _sample(
    pixels: NDArray[np.generic], window: PatchWindow, size: tuple[int, int], method: Image.Resampling
) -> NDArray[np.generic]:
    height, width = window.height, window.width
    if window.angle:
        height, width = _bounding_box(height, width, window.angle)
    top, left = window.top + (window.height - height) / 2, window.left + (window.width - width) / 2
    rows, columns = _covered(top, height), _covered(left, width)
    box = (left - columns.start, top - rows.start, left - columns.start + width, top - rows.start + height)
    scaled = (max(1, round(width * size[1] / window.width)), max(1, round(height * size[0] / window.height)))
    crop = _crop(pixels, rows, columns)
    if crop.dtype != np.uint8:
        crop = crop.astype(np.float32)
    picture = Image.fromarray(crop).resize(scaled, method, box=box)
    if window.angle:
        picture = _rotated(picture, size, window, (scaled[1] / height, scaled[0] / width), method)
    sampled = np.asarray(picture)
    return sampled[:: -1 if window.flip_vertical else 1, :: -1 if window.flip_horizontal else 1]


def _bounding_box(height: float, width: float, angle: float) -> tuple[float, float]:
    """Return the height and width of the axis-aligned box around a rotated box, with a margin of one pixel."""
    cosine, sine = abs(math.cos(math.radians(angle))), abs(math.sin(math.radians(angle)))
    return height * cosine + width * sine + 2, height * sine + width * cosine + 2


def _covered(start: float, length: float) -> range:
    return range(math.floor(start), math.ceil(start + length))


def _crop(pixels: NDArray[np.generic], rows: range, columns: range) -> NDArray[np.generic]:
    height, width = pixels.shape[:2]
    if rows.start >= 0 and rows.stop <= height and columns.start >= 0 and columns.stop <= width:
        return np.ascontiguousarray(pixels[rows.start : rows.stop, columns.start : columns.stop])
    return pixels[np.ix_(reflected(np.asarray(rows), height), reflected(np.asarray(columns), width))]


def _rotated(
    picture: Image.Image,
    size: tuple[int, int],
    window: PatchWindow,
    scale: tuple[float, float],
    method: Image.Resampling,
) -> Image.Image:
    """Rotate ``picture`` about its centre and crop it to ``size``.

    ``scale`` is the number of pixels of ``picture`` per image pixel, vertically and horizontally. The rotation is
    applied in image pixels, so that unequal scales do not cause shear: an offset from the centre of the patch is
    converted to image pixels, rotated, and converted to pixels of ``picture``.
    """
    cosine, sine = math.cos(math.radians(window.angle)), math.sin(math.radians(window.angle))
    vertical, horizontal = size[0] / window.height, size[1] / window.width  # patch pixels per image pixel
    a, b = scale[1] * cosine / horizontal, -scale[1] * sine / vertical
    d, e = scale[0] * sine / horizontal, scale[0] * cosine / vertical
    centre = size[1] / 2, size[0] / 2
    c = picture.width / 2 - a * centre[0] - b * centre[1]
    f = picture.height / 2 - d * centre[0] - e * centre[1]
    return picture.transform((size[1], size[0]), Image.Transform.AFFINE, (a, b, c, d, e, f), method)
