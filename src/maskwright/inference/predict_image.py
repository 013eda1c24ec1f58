"""One image of any size through an engine: brought to the network's scale, padded, tiled if large, and back."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskwright.images.coord_channels import ramp
from maskwright.images.resize import resized
from maskwright.inference.bundle import Bundle
from maskwright.inference.engines.engine import Engine
from maskwright.inference.ensemble import Ensemble
from maskwright.inference.tiles import Span, grid

Pixels = NDArray[np.generic]
Place = tuple[slice, slice]


def predict_probabilities(
    engine: Engine | Ensemble, image: Pixels, *, file: str | Path = "image"
) -> NDArray[np.float32]:
    """Probabilities, (h, w, outputs) in [0, 1], of an image as read, (h, w, c), of any size from 1 x 1 up.

    An image is brought to the network's scale, reflected up to the sizes the network takes, and both undone. One of
    more than tile x tile pixels is predicted in overlapping tiles whose inner borders are thrown away.

    Raises:
        WrongPixels, WrongChannels: The image is not of the kind the network was trained on.
    """
    if isinstance(engine, Ensemble):
        each = engine.each(partial(predict_probabilities, image=image, file=file))
        total = sum((answer.astype(np.float64) for answer in each), start=np.zeros(()))
        return (total / len(engine.members)).astype(np.float32)
    whole = np.empty((*scaled_size(engine.bundle, image), engine.bundle.outputs), np.float32)
    for place, probabilities in _predict_parts(engine, image, file):
        whole[place] = probabilities
    return resized(whole, image.shape[:2])


def predict_indices(engine: Engine | Ensemble, image: Pixels, *, file: str | Path = "image") -> NDArray[np.uint8]:
    """Label indices, (h, w), of an image as read: decided, and freed of what the bundle says is wrong.

    At the image's own scale they are decided tile by tile: no probabilities of a whole large image are held.

    Raises:
        WrongPixels, WrongChannels: The image is not of the kind the network was trained on.
    """
    bundle = engine.bundle
    if isinstance(engine, Ensemble) or scaled_size(bundle, image) != image.shape[:2]:
        return bundle.finish(bundle.decide(predict_probabilities(engine, image, file=file)))
    whole = np.empty(image.shape[:2], np.uint8)
    for place, probabilities in _predict_parts(engine, image, file):
        whole[place] = bundle.decide(probabilities)
    return bundle.finish(whole)


def scaled_size(bundle: Bundle, image: Pixels) -> tuple[int, int]:
    """Height and width of an image as read, (h, w, c), at the network's scale."""
    return _scaled(bundle, *image.shape[:2])


def prepared_size(bundle: Bundle, size: tuple[int, int]) -> tuple[int, int]:
    """Height and width that the network sees of an image of (height, width) pixels, tiles not counted."""
    height, width = (side + -side % bundle.multiple for side in _scaled(bundle, *size))
    return height, width


def _scaled(bundle: Bundle, height: int, width: int) -> tuple[int, int]:
    return max(1, round(height * bundle.scale)), max(1, round(width * bundle.scale))


def in_one_call(bundle: Bundle, image: Pixels) -> bool:
    """Whether an image as read, (h, w, c), is predicted whole and not in tiles."""
    height, width = scaled_size(bundle, image)
    return height * width <= bundle.tile**2


def prepared_whole(bundle: Bundle, image: Pixels, *, file: str | Path = "image") -> NDArray[np.float32]:
    """An image as read, (h, w, c), as the network takes it in one call, (h', w', inputs).

    Raises:
        WrongPixels, WrongChannels: The image is not of the kind the network was trained on.
    """
    scaled = resized(image, scaled_size(bundle, image))
    padded = reflected(bundle, scaled)
    places = _places(scaled, padded, *map(slice, padded.shape[:2])) if bundle.position else None
    return bundle.prepare(padded, file=file, places=places)


def answer_of(probabilities: NDArray[np.float32], bundle: Bundle, image: Pixels) -> NDArray[np.float32]:
    """What the network said of an image that was prepared whole, at the image's own size."""
    height, width = scaled_size(bundle, image)
    return resized(probabilities[:height, :width], image.shape[:2])


def reflected(bundle: Bundle, image: Pixels) -> Pixels:
    """An image, (h, w, c), continued below and to the right up to the sizes the network takes."""
    below, right = -image.shape[0] % bundle.multiple, -image.shape[1] % bundle.multiple
    return np.pad(image, ((0, below), (0, right), (0, 0)), mode="reflect") if below or right else image


def _places(
    scaled: Pixels, padded: Pixels, rows: slice, columns: slice
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where the rows and columns of a window of ``padded`` lie in the image, which is reflected beyond its ends."""
    down, across = (
        np.pad(ramp(whole), (0, more - whole), mode="reflect")
        for whole, more in zip(scaled.shape[:2], padded.shape[:2], strict=True)
    )
    return down[rows], across[columns]


def _predict_parts(engine: Engine, image: Pixels, file: str | Path) -> Iterator[tuple[Place, NDArray[np.float32]]]:
    """Places that cover the image at the network's scale once, each with its probabilities."""
    bundle = engine.bundle
    scaled = resized(image, scaled_size(bundle, image))
    # Reflected before it is cut, so that tiles see at the image's borders what one pass over the whole would see.
    padded = reflected(bundle, scaled)
    tile = max(padded.shape[:2]) if in_one_call(bundle, image) else bundle.tile

    def predicted(*spans: Span) -> NDArray[np.float32]:
        rows, columns = (slice(span.start, span.stop) for span in spans)
        places = _places(scaled, padded, rows, columns) if bundle.position else None
        return engine(bundle.prepare(padded[rows, columns], file=file, places=places)[None])[0]

    height, width = scaled.shape[:2]
    for rows, columns in grid(*padded.shape[:2], tile=tile, margin=bundle.margin):
        place = slice(rows.first, min(rows.last, height)), slice(columns.first, min(columns.last, width))
        down, right = rows.first - rows.start, columns.first - columns.start
        kept = predicted(rows, columns)[
            down : down + place[0].stop - rows.first, right : right + place[1].stop - columns.first
        ]
        yield place, kept
