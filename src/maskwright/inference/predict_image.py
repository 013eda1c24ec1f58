"""Predict the mask of an image, which is resized to the scale of the network, padded and, if large, cut into blocks."""

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskwright.images.channels import to_channels
from maskwright.images.resize import resized
from maskwright.images.round_up import round_up
from maskwright.inference.bundle import Bundle
from maskwright.inference.engines.engine import Engine
from maskwright.inference.ensemble import Ensemble
from maskwright.inference.tiling.array_source import ArraySource
from maskwright.inference.tiling.margin import choose_layout, fits_one_call
from maskwright.inference.tiling.window import Pixels, drops_alpha, prepare_window
from maskwright.inference.tiling.window_predictor import WindowPredictor


def predict_probabilities(
    engine: Engine | Ensemble, image: Pixels, *, margin: int | None = None, file: str | Path = "image"
) -> NDArray[np.float32]:
    """Predict the probabilities (h, w, outputs), in [0, 1], of an image (h, w, c) of at least 1 x 1 pixels.

    Args:
        engine: Engine or ensemble; the probabilities of the networks of an ensemble are averaged.
        image: Pixels (h, w, c) as read from a file.
        margin: Width in pixels added to each side of a block, rounded up to the multiple of the network; measured by
            default; see `maskwright.inference.tiling.margin.choose_layout`.
        file: Path of the image, used in error messages.

    Raises:
        WrongPixels, WrongChannels: The image has a data type or channels that the network does not accept.
    """
    if isinstance(engine, Ensemble):
        members = engine.each(partial(predict_probabilities, image=image, margin=margin, file=file))
        total = sum((probabilities.astype(np.float64) for probabilities in members), start=np.zeros(()))
        return (total / len(engine.members)).astype(np.float32)
    predictor = _window_predictor(engine, image, file)
    source = predictor.source
    whole = np.empty((source.height, source.width, engine.bundle.outputs), np.float32)
    for block, window in predictor.read_ahead(choose_layout(predictor, margin).blocks()):
        whole[block.kept] = predictor.probabilities(window)[block.kept_in_window]
    return resized(whole, image.shape[:2])


def predict_indices(
    engine: Engine | Ensemble, image: Pixels, *, margin: int | None = None, file: str | Path = "image"
) -> NDArray[np.uint8]:
    """Predict the label indices (h, w) of an image, with holes filled and small components removed as configured.

    If the image is not resized, the classes of each block are decided immediately, so the probabilities of a whole
    large image are never in memory. For arguments and errors, see `predict_probabilities`.
    """
    bundle = engine.bundle
    if isinstance(engine, Ensemble) or scaled_size(bundle, image.shape[:2]) != image.shape[:2]:
        return bundle.finish(bundle.decide(predict_probabilities(engine, image, margin=margin, file=file)))
    predictor = _window_predictor(engine, image, file)
    whole = np.empty(image.shape[:2], np.uint8)
    for block, window in predictor.read_ahead(choose_layout(predictor, margin).blocks()):
        whole[block.kept] = bundle.decide(predictor.probabilities(window)[block.kept_in_window])
    return bundle.finish(whole)


def scaled_size(bundle: Bundle, size: tuple[int, ...]) -> tuple[int, int]:
    """Return the height and width, at the scale of the network, of an image of (height, width) pixels."""
    height, width = (max(1, round(side * bundle.scale)) for side in size)
    return height, width


def padded_size(bundle: Bundle, size: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) of the network input for an image of (height, width) pixels processed in one call."""
    height, width = (round_up(side, bundle.multiple) for side in scaled_size(bundle, size))
    return height, width


def predicts_in_one_call(bundle: Bundle, size: tuple[int, ...]) -> bool:
    """Return whether an image of (height, width) pixels is processed in one call, batched with others of its size."""
    return fits_one_call(bundle, *scaled_size(bundle, size))


def prepare_image(bundle: Bundle, image: Pixels, *, file: str | Path = "image") -> NDArray[np.float32]:
    """Convert an image (h, w, c), as read from a file, to the input (h', w', inputs) of one call of the network.

    Raises:
        WrongPixels, WrongChannels: The image has a data type or channels that the network does not accept.
    """
    scaled = resized(image, scaled_size(bundle, image.shape[:2]))
    rows, columns = (slice(0, round_up(side, bundle.multiple)) for side in scaled.shape[:2])
    return prepare_window(scaled, bundle, rows=rows, columns=columns, size=scaled.shape[:2], file=file)


def restore_size(probabilities: NDArray[np.float32], bundle: Bundle, size: tuple[int, int]) -> NDArray[np.float32]:
    """Crop and resize the network output for an image from `prepare_image` to the original (height, width)."""
    height, width = scaled_size(bundle, size)
    return resized(probabilities[:height, :width], size)


def _window_predictor(engine: Engine, image: Pixels, file: str | Path) -> WindowPredictor:
    scaled = resized(image, scaled_size(engine.bundle, image.shape[:2]))
    if drops_alpha(image.shape[-1], engine.bundle):
        # A mask has no value for transparent pixels, so they are an error here; in large results, they are nodata.
        scaled = to_channels(scaled, image.shape[-1] - 1, file=file)
    return WindowPredictor(engine, ArraySource(scaled), file)
