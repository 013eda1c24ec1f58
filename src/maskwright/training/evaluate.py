"""How good an engine's masks are, through the very path that predicting takes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.data.mask_values import MaskValues
from maskwright.data.pairs import Pair
from maskwright.errors import InputError
from maskwright.images.labels import IGNORED
from maskwright.images.read import read_image, read_mask
from maskwright.inference.ensemble import Ensemble
from maskwright.inference.opening import Predictor
from maskwright.inference.pipeline import Failed, Numbered, Prediction, predictions
from maskwright.inference.predict import predict_indices
from maskwright.metrics.salt import score_of_counts
from maskwright.metrics.scores import Scores, confusion_matrix

IdMask = NDArray[np.uint8]


class SizesDiffer(InputError):
    """An image and its mask that are not of one size."""

    text = "{image}: {image_size} pixels, but its mask {mask} has {mask_size}; expected one size (height x width)."


@dataclass(frozen=True)
class ClassPixels:
    """Known pixels of one image by class; those of images add, and every score of `Scores` follows from the sums."""

    hits: tuple[int, ...]
    truth: tuple[int, ...]
    predicted: tuple[int, ...]

    @classmethod
    def count(cls, confusion: NDArray[np.int64]) -> "ClassPixels":
        """The counts in a confusion matrix, truth in rows."""
        hits, truth, predicted = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
        return cls(*(tuple(map(int, counts)) for counts in (hits, truth, predicted)))


@dataclass(frozen=True)
class ImageScore:
    """What one image scored; ``mean_iou`` is None where no class is in truth or prediction."""

    name: str
    mean_iou: float | None
    pixel_accuracy: float | None
    pixels: ClassPixels
    seconds: float
    """What predicting took, reading not counted; with the first image, or the first of a size, also compiling."""


@dataclass(frozen=True)
class Evaluation:
    """Scores over all pixels of a set, and image by image; pairs that could not be used are in ``failures`` alone."""

    scores: Scores
    images: tuple[ImageScore, ...]
    failures: tuple[InputError, ...] = ()
    left_out: tuple[Path, ...] = ()
    """Images without a mask and masks without an image."""

    @property
    def mean_precision(self) -> float | None:
        """The score of the TGS salt challenge, see `salt_score`; None but for a background and one class."""
        if not (self.images and self.scores.background and len(self.scores.classes) == 2):
            return None
        counted = ((one.pixels.hits[1], one.pixels.truth[1], one.pixels.predicted[1]) for one in self.images)
        return float(score_of_counts(*zip(*counted, strict=True)).mean())

    def to_json(self) -> dict[str, Any]:
        """As stored in ``scores.json``."""
        return {
            "mean_precision": self.mean_precision,
            "scores": self.scores.model_dump(mode="json"),
            "images": [asdict(image) for image in self.images],
            "failures": [str(failure) for failure in self.failures],
            "left_out": [str(file) for file in self.left_out],
        }


def evaluate_pairs(
    engine: Predictor,
    pairs: Sequence[Pair],
    *,
    mask_values: MaskValues,
    seen: Callable[[Pair, IdMask | None], None] = lambda pair, indices: None,
) -> Evaluation:
    """Predict every image whole and compare with its mask. A pair that cannot be used is kept as a failure.

    Args:
        engine: What predicts.
        pairs: Images and masks.
        mask_values: What the values of the masks mean.
        seen: Called after every pair with its predicted label indices, (h, w), or None if it failed.
    """
    names = [label.name for label in engine.bundle.labels]
    background = engine.bundle.background
    total = np.zeros((len(names), len(names)), np.int64)
    images, failures = [], []
    for pair, ask in _asked(engine, pairs):
        try:
            truth, guess, seconds = _predicted(pair, mask_values, ask)
        except InputError as error:
            failures.append(error)
            seen(pair, None)
            continue
        confusion = confusion_matrix(truth, guess, classes=len(names), ignore=IGNORED)
        one = Scores.from_confusion(confusion, names, background=background)
        images.append(ImageScore(pair.name, one.mean_iou, one.pixel_accuracy, ClassPixels.count(confusion), seconds))
        total += confusion
        seen(pair, guess)
    return Evaluation(Scores.from_confusion(total, names, background=background), tuple(images), tuple(failures))


def _asked(engine: Predictor, pairs: Sequence[Pair]) -> Iterator[tuple[Pair, Callable[[Any], IdMask]]]:
    """Each pair with what predicts its image; of an ensemble, whose networks come in turn, many are predicted ahead."""
    if not isinstance(engine, Ensemble):
        for pair in pairs:
            yield pair, partial(predict_indices, engine, file=pair.image)
        return
    files = [Numbered(number, pair.image) for number, pair in enumerate(pairs)]
    for found in predictions(engine, files, probabilities=True):
        yield pairs[found.of.number], partial(_found, engine, found)


def _found(ensemble: Ensemble, found: Prediction | Failed, image: Any) -> IdMask:
    del image
    if isinstance(found, Failed):
        raise found.error
    return ensemble.bundle.finish(ensemble.bundle.decide(found.answer))


def _predicted(pair: Pair, mask_values: MaskValues, ask: Callable[[Any], IdMask]) -> tuple[IdMask, IdMask, float]:
    """Truth and prediction of a pair, as label indices, and the seconds the prediction took."""
    image, truth = read_image(pair.image), mask_values.encode(read_mask(pair.mask), file=pair.mask)
    if image.shape[:2] != truth.shape:
        raise SizesDiffer(image=pair.image, image_size=_size(image), mask=pair.mask, mask_size=_size(truth))
    begun = perf_counter()
    guess = ask(image)
    return truth, guess, round(perf_counter() - begun, 4)


def _size(array: NDArray[np.generic]) -> str:
    return f"{array.shape[0]} x {array.shape[1]}"
