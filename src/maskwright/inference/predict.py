"""One image of any size through an engine: padded, tiled if large, cropped back."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskwright.inference.bundle import Bundle
from maskwright.inference.engine import Engine
from maskwright.inference.tiles import grid

Pixels = NDArray[np.generic]
Place = tuple[slice, slice]


def predict_probabilities(engine: Engine, image: Pixels, *, file: str | Path = "image") -> NDArray[np.float32]:
    """Probabilities, (h, w, outputs) in [0, 1], of an image as read, (h, w, c), of any size from 1 x 1 up.

    An image is reflected up to the sizes the network takes, and cropped back. One of more than tile x tile pixels is
    predicted in overlapping tiles whose inner borders are thrown away.

    Raises:
        WrongPixels, WrongChannels: The image is not of the kind the network was trained on.
    """
    whole = np.empty((*image.shape[:2], engine.bundle.outputs), np.float32)
    for place, probabilities in _predict_parts(engine, image, file):
        whole[place] = probabilities
    return whole


def predict_indices(engine: Engine, image: Pixels, *, file: str | Path = "image") -> NDArray[np.uint8]:
    """Label indices, (h, w), decided tile by tile, so that no probabilities of a whole large image are held.

    Raises:
        WrongPixels, WrongChannels: The image is not of the kind the network was trained on.
    """
    whole = np.empty(image.shape[:2], np.uint8)
    for place, probabilities in _predict_parts(engine, image, file):
        whole[place] = engine.bundle.decide(probabilities)
    return whole


def in_one_call(bundle: Bundle, image: Pixels) -> bool:
    """Whether an image as read, (h, w, c), is predicted whole and not in tiles."""
    return image.shape[0] * image.shape[1] <= bundle.tile**2


def reflected(bundle: Bundle, image: Pixels) -> Pixels:
    """An image as read, (h, w, c), continued below and to the right up to the sizes the network takes."""
    below, right = -image.shape[0] % bundle.multiple, -image.shape[1] % bundle.multiple
    return np.pad(image, ((0, below), (0, right), (0, 0)), mode="reflect") if below or right else image


def _predict_parts(engine: Engine, image: Pixels, file: str | Path) -> Iterator[tuple[Place, NDArray[np.float32]]]:
    """Places that cover the image once, each with its probabilities."""
    bundle = engine.bundle
    height, width = image.shape[:2]
    # Reflected before it is cut, so that tiles see at the image's borders what one pass over the whole would see.
    padded = reflected(bundle, image)
    tile = max(padded.shape[:2]) if in_one_call(bundle, image) else bundle.tile
    for rows, columns in grid(*padded.shape[:2], tile=tile, margin=bundle.margin):
        window = padded[rows.start : rows.stop, columns.start : columns.stop]
        predicted = engine(bundle.prepare(window, file=file)[None])[0]
        place = slice(rows.first, min(rows.last, height)), slice(columns.first, min(columns.last, width))
        down, right = rows.first - rows.start, columns.first - columns.start
        kept = predicted[down : down + place[0].stop - rows.first, right : right + place[1].stop - columns.first]
        yield place, kept
