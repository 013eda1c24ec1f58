"""What a patch shows of its image: a window, brought to the patch's size, turned and mirrored; masks move along.

Image and mask are sampled at the same places, the image smoothly (Pillow's bilinear, which averages where it shrinks),
the mask by the nearest pixel: no label comes out that did not go in. What lies beyond a border is reflected in both.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskwright.images.resize import FAST_CHANNELS


@dataclass(frozen=True, slots=True)
class View:
    """A window of an image, in pixels from its top left corner; parts of pixels and of windows beyond it are fine."""

    top: float
    left: float
    height: float
    width: float
    angle: float = 0.0
    """Degrees by which what it shows is turned counter-clockwise about its middle."""
    mirrored: bool = False
    upside_down: bool = False


def seen(
    image: NDArray[np.generic], labels: NDArray[np.uint8], view: View, size: tuple[int, int]
) -> tuple[NDArray[np.generic], NDArray[np.uint8]]:
    """The patches of ``size`` (height, width) that ``view`` shows of an image (h, w, c) and its label indices (h, w).

    Both keep their types.

    >>> image = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
    >>> patch, _ = seen(image, image[..., 0], View(1, 1, 2, 2, mirrored=True), (2, 2))
    >>> patch[..., 0].tolist()
    [[6, 5], [10, 9]]
    """
    if image.dtype == np.uint8 and image.shape[-1] in FAST_CHANNELS:
        pixels = _sampled(image.squeeze(-1) if image.shape[-1] == 1 else image, view, size, Image.Resampling.BILINEAR)
    else:
        bands = (image[..., band] for band in range(image.shape[-1]))
        pixels = np.stack([_sampled(band, view, size, Image.Resampling.BILINEAR) for band in bands], axis=-1)
        pixels = (pixels if image.dtype.kind == "f" else pixels.round()).astype(image.dtype)
    return pixels.reshape(*size, -1), _sampled(labels, view, size, Image.Resampling.NEAREST).astype(
        np.uint8, copy=False
    )


def reflected(places: NDArray[np.integer], length: int) -> NDArray[np.integer]:
    """Places on a line as places in [0, ``length``), reflected at its ends, which are not repeated.

    >>> reflected(np.arange(-3, 6), 3).tolist()
    [1, 2, 1, 0, 1, 2, 1, 0, 1]
    """
    period = max(1, 2 * (length - 1))
    folded = places % period
    return np.minimum(folded, period - folded) if length > 1 else np.zeros_like(places)


def _sampled(
    pixels: NDArray[np.generic], view: View, size: tuple[int, int], method: Image.Resampling
) -> NDArray[np.generic]:
    height, width = _bounds(view.height, view.width, view.angle) if view.angle else (view.height, view.width)
    top, left = view.top + (view.height - height) / 2, view.left + (view.width - width) / 2
    rows, columns = _touched(top, height), _touched(left, width)
    box = (left - columns.start, top - rows.start, left - columns.start + width, top - rows.start + height)
    scaled = (max(1, round(width * size[1] / view.width)), max(1, round(height * size[0] / view.height)))
    piece = _piece(pixels, rows, columns)
    if piece.dtype != np.uint8:
        piece = piece.astype(np.float32)
    picture = Image.fromarray(piece).resize(scaled, method, box=box)
    if view.angle:
        picture = _turned(picture, size, view, (scaled[1] / height, scaled[0] / width), method)
    sampled = np.asarray(picture)
    return sampled[:: -1 if view.upside_down else 1, :: -1 if view.mirrored else 1]


def _bounds(height: float, width: float, angle: float) -> tuple[float, float]:
    """Height and width of the upright box that holds a turned one, and a pixel around it."""
    cosine, sine = abs(math.cos(math.radians(angle))), abs(math.sin(math.radians(angle)))
    return height * cosine + width * sine + 2, height * sine + width * cosine + 2


def _touched(start: float, length: float) -> range:
    return range(math.floor(start), math.ceil(start + length))


def _piece(pixels: NDArray[np.generic], rows: range, columns: range) -> NDArray[np.generic]:
    height, width = pixels.shape[:2]
    if rows.start >= 0 and rows.stop <= height and columns.start >= 0 and columns.stop <= width:
        return np.ascontiguousarray(pixels[rows.start : rows.stop, columns.start : columns.stop])
    return pixels[np.ix_(reflected(np.asarray(rows), height), reflected(np.asarray(columns), width))]


def _turned(
    picture: Image.Image, size: tuple[int, int], view: View, scale: tuple[float, float], method: Image.Resampling
) -> Image.Image:
    """The middle of ``picture``, which shows ``scale`` pixels for each of the image's, down and across, turned.

    Turning is done in the image's pixels, whatever the scales: an offset from the middle of the patch is brought to
    them, turned, and brought to the picture's.
    """
    cosine, sine = math.cos(math.radians(view.angle)), math.sin(math.radians(view.angle))
    down, across = size[0] / view.height, size[1] / view.width  # pixels of the patch for each of the image's
    a, b = scale[1] * cosine / across, -scale[1] * sine / down
    d, e = scale[0] * sine / across, scale[0] * cosine / down
    middle = size[1] / 2, size[0] / 2
    c = picture.width / 2 - a * middle[0] - b * middle[1]
    f = picture.height / 2 - d * middle[0] - e * middle[1]
    return picture.transform((size[1], size[0]), Image.Transform.AFFINE, (a, b, c, d, e, f), method)
