"""One image of any size through an engine: padded, tiled if large, cropped back."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskwright.inference.engine import Engine
from maskwright.inference.tiles import grid

Pixels = NDArray[np.generic]
Place = tuple[slice, slice]


def predict_probabilities(engine: Engine, image: Pixels, *, file: str | Path = "image") -> NDArray[np.float32]:
    """Probabilities, (h, w, outputs) in [0, 1], of an image as read, (h, w, c), of any size from 1 x 1 up.

    An image of more than tile x tile pixels is predicted in overlapping tiles whose borders are thrown away.

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


def _predict_parts(engine: Engine, image: Pixels, file: str | Path) -> Iterator[tuple[Place, NDArray[np.float32]]]:
    """Places that cover the image once, each with its probabilities."""
    bundle = engine.bundle
    height, width = image.shape[:2]
    tile = bundle.tile if height * width > bundle.tile**2 else max(height, width)
    for rows, columns in grid(height, width, tile=tile, margin=bundle.margin):
        window = image[rows.start : rows.stop, columns.start : columns.stop]
        predicted = _predict_padded(engine, bundle.prepare(window, file=file))
        kept = tuple(slice(span.first - span.start, span.last - span.start) for span in (rows, columns))
        yield (slice(rows.first, rows.last), slice(columns.first, columns.last)), predicted[kept]


def _predict_padded(engine: Engine, prepared: NDArray[np.float32]) -> NDArray[np.float32]:
    """Reflect up to sizes the network takes, predict, crop."""
    height, width = prepared.shape[:2]
    multiple = engine.bundle.multiple
    padding = ((0, -height % multiple), (0, -width % multiple), (0, 0))
    return engine(np.pad(prepared, padding, mode="reflect")[None])[0, :height, :width]
