"""How good an engine's masks are, through the very path that predicting takes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.data.mask_values import MaskValues
from maskwright.data.pairs import Pair
from maskwright.errors import InputError
from maskwright.images.labels import IGNORED
from maskwright.images.read import read_image, read_mask
from maskwright.inference.engine import Engine
from maskwright.inference.predict import predict_indices
from maskwright.metrics.scores import Scores, confusion_matrix


class SizesDiffer(InputError):
    """An image and its mask that are not of one size."""

    text = "{image}: {image_size} pixels, but its mask {mask} has {mask_size}; expected one size (height x width)."


@dataclass(frozen=True)
class ImageScore:
    """What one image scored; ``mean_iou`` is None where no class is in truth or prediction."""

    name: str
    mean_iou: float | None
    pixel_accuracy: float | None


@dataclass(frozen=True)
class Evaluation:
    """Scores over all pixels of a set, and image by image."""

    scores: Scores
    images: tuple[ImageScore, ...]

    def to_json(self) -> dict[str, Any]:
        """As stored in ``scores.json``."""
        return {"scores": self.scores.model_dump(mode="json"), "images": [vars(image) for image in self.images]}


def evaluate_pairs(
    engine: Engine,
    pairs: Iterable[Pair],
    *,
    mask_values: MaskValues,
    seen: Callable[[Pair, NDArray[np.uint8]], None] = lambda pair, indices: None,
) -> Evaluation:
    """Predict every image whole and compare with its mask.

    Args:
        engine: What predicts.
        pairs: Images and masks.
        mask_values: What the values of the masks mean.
        seen: Called with every pair and its predicted label indices, (h, w).

    Raises:
        SizesDiffer: An image and its mask differ in size.
        InputError: A file cannot be read or used.
    """
    names = [label.name for label in engine.bundle.labels]
    background = engine.bundle.background
    total = np.zeros((len(names), len(names)), np.int64)
    images = []
    for pair in pairs:
        image, truth = read_image(pair.image), mask_values.encode(read_mask(pair.mask), file=pair.mask)
        if image.shape[:2] != truth.shape:
            sizes = {"image_size": "x".join(map(str, image.shape[:2])), "mask_size": "x".join(map(str, truth.shape))}
            raise SizesDiffer(image=pair.image, mask=pair.mask, **sizes)
        guess = predict_indices(engine, image, file=pair.image)
        confusion = confusion_matrix(truth, guess, classes=len(names), ignore=IGNORED)
        one = Scores.from_confusion(confusion, names, background=background)
        images.append(ImageScore(pair.name, one.mean_iou, one.pixel_accuracy))
        total += confusion
        seen(pair, guess)
    return Evaluation(Scores.from_confusion(total, names, background=background), tuple(images))
