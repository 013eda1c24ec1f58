"""Convert images for display and draw class overlays."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from maskwright.errors import wrong_argument
from maskwright.images.labels import IGNORED, Colour, Label
from maskwright.images.normalise import Normalisation

HATCH: Final[Colour] = (150, 150, 150)
_HATCH_PERIOD, _HATCH_WIDTH = 8, 2  # pixels


def to_display(image: np.ndarray, normalisation: Normalisation | None = None) -> np.ndarray:
    """Convert any image (h, w, c) to RGB, (h, w, 3) uint8: repeat gray, drop alpha or use the first three channels.

    8-bit values are not changed. Other values are scaled so that the range of three standard deviations around the mean
    of ``normalisation`` is mapped to 0 to 255, which makes the images of a dataset comparable. Without
    ``normalisation``, the range is from the 0.5th to the 99.5th percentile of the image.

    >>> to_display(np.array([[[9]]], "uint8")).tolist()
    [[[9, 9, 9]]]
    """
    colour = image[..., :3] if image.shape[-1] >= 3 else np.repeat(image[..., :1], 3, axis=-1)
    if colour.dtype == np.uint8:
        return np.ascontiguousarray(colour)
    if normalisation is None:
        unit = colour.astype(np.float32)
        low, high = np.percentile(unit, (0.5, 99.5))
    else:
        unit = normalisation.to_unit(colour)
        mean, std = np.array(normalisation.mean), np.array(normalisation.std)
        low, high = max(0.0, (mean - 3 * std).min()), min(1.0, (mean + 3 * std).max())
    stretched = (unit - low) / max(high - low, np.finfo(np.float32).tiny)
    return (np.clip(stretched, 0, 1) * 255).round().astype(np.uint8)


def overlay(
    image: np.ndarray, indices: np.ndarray, *, labels: Sequence[Label], alpha: float = 0.45, outline: bool = True
) -> np.ndarray:
    """Return an RGB image, (h, w, 3) uint8, with the classes of ``indices`` drawn over it.

    ``image`` is (h, w, 3) uint8; ``indices`` (h, w) are indices into ``labels``, or ``IGNORED``. ``alpha`` is the
    opacity of the class colours, 0 to 1. Outlines are one pixel wide and opaque. The background is not drawn; ignored
    pixels are hatched in gray.

    Raises:
        WrongArgument: The shapes differ, or an index has no label.

    >>> road = Label(name="road", value=1, colour=(200, 0, 0))
    >>> overlay(np.zeros((1, 1, 3), "uint8"), np.array([[0]]), labels=[road], alpha=0.5, outline=False).tolist()
    [[[100, 0, 0]]]
    """
    if image.shape != (*indices.shape, 3):
        raise wrong_argument("indices", f"array of shape {indices.shape}", expected=f"shape {image.shape[:2]}")
    _check_indices(indices, labels)
    classes = class_pixels(indices, labels)
    colours = np.zeros((IGNORED + 1, 3), np.uint8)
    colours[: len(labels)] = [label.colour for label in labels]
    picture = blended(image, colours[indices], where=classes, alpha=alpha)
    if outline:
        edges = _edges(np.where(classes, indices.astype(np.int16), -1))
        picture[edges] = colours[indices[edges]]
    return hatched(picture, where=indices == IGNORED)


def class_pixels(indices: np.ndarray, labels: Sequence[Label]) -> np.ndarray:
    """Return a mask (h, w) of the pixels in ``indices`` that are neither background nor ignored."""
    background = [index for index, label in enumerate(labels) if label.background]
    return ~np.isin(indices, [*background, IGNORED])


def blended(image: np.ndarray, colours: np.ndarray, *, where: np.ndarray, alpha: float) -> np.ndarray:
    """Blend ``colours``, (h, w, 3) or (3,), into a copy of ``image`` (h, w, 3) with opacity ``alpha`` in ``where``."""
    colours = np.broadcast_to(colours, image.shape)
    picture = image.copy()
    picture[where] = ((1 - alpha) * image[where] + alpha * colours[where]).round().astype(np.uint8)
    return picture


def hatched(image: np.ndarray, *, where: np.ndarray) -> np.ndarray:
    """Draw thin gray diagonal lines into a copy of ``image`` (h, w, 3) in the mask ``where`` (h, w)."""
    diagonal = np.add.outer(*map(np.arange, where.shape))
    picture = image.copy()
    picture[where & (diagonal % _HATCH_PERIOD < _HATCH_WIDTH)] = HATCH
    return picture


def _edges(classes: np.ndarray) -> np.ndarray:
    """Return a mask of the pixels with a 4-neighbour of a lower index, so that class borders are one pixel wide."""
    padded = np.pad(classes, 1, mode="edge")
    neighbours = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return classes > np.minimum.reduce(neighbours)


def _check_indices(indices: np.ndarray, labels: Sequence[Label]) -> None:
    unknown = np.setdiff1d(indices, [*range(len(labels)), IGNORED])
    if unknown.size:
        expected = f"0 to {len(labels) - 1}, or {IGNORED} for ignored pixels"
        raise wrong_argument("indices", ", ".join(map(str, unknown[:5])), expected=expected)
