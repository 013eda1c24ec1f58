"""How good an engine's masks are, through the very path that predicting takes."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskwright.data.mask_values import MaskValues
from maskwright.data.pairs import Pair
from maskwright.errors import InputError
from maskwright.images.labels import IGNORED
from maskwright.images.read import read_mask
from maskwright.inference.load_predictor import Predictor
from maskwright.inference.pipeline import FailedImage, NumberedFile, Prediction, predictions
from maskwright.metrics.salt import salt_score_from_counts
from maskwright.metrics.scores import Scores, confusion_matrix
from maskwright.training.run_records import ClassPixels, ImageScore, RunScores

IdMask = NDArray[np.uint8]


class SizesDiffer(InputError):
    """An image and its mask that are not of one size."""

    text = "{image}: {image_size} pixels, but its mask {mask} has {mask_size}; expected one size (height x width)."


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
        counted = ((one.pixels.true_positives[1], one.pixels.truth[1], one.pixels.predicted[1]) for one in self.images)
        return float(salt_score_from_counts(*zip(*counted, strict=True)).mean())

    def record(self) -> RunScores:
        """Return the evaluation as ``scores.json`` stores it."""
        return RunScores(
            mean_precision=self.mean_precision,
            scores=self.scores,
            images=self.images,
            failures=tuple(str(failure) for failure in self.failures),
            left_out=tuple(str(file) for file in self.left_out),
        )


def evaluate_pairs(
    engine: Predictor,
    pairs: Sequence[Pair],
    *,
    mask_values: MaskValues,
    seen: Callable[[Pair, IdMask | None], None] = lambda pair, indices: None,
) -> Evaluation:
    """Predict every image, in batches, and compare with its mask. A pair that cannot be used is kept as a failure.

    Args:
        engine: What predicts.
        pairs: Images and masks.
        mask_values: What the values of the masks mean.
        seen: Called after every pair with its predicted label indices, (h, w), or None if it failed.
    """
    names = [label.name for label in engine.bundle.labels]
    background = engine.bundle.background
    total = np.zeros((len(names), len(names)), np.int64)
    images: dict[int, ImageScore] = {}
    failures: dict[int, InputError] = {}
    files = [NumberedFile(number, pair.image) for number, pair in enumerate(pairs)]
    with closing(predictions(engine, files, probabilities=False)) as answers:
        for found in answers:
            pair = pairs[found.of.number]
            try:
                if isinstance(found, FailedImage):
                    raise found.error
                truth, prediction = _truth(pair, mask_values, found), found.indices(engine.bundle)
            except InputError as error:
                failures[found.of.number] = error
                seen(pair, None)
                continue
            confusion = confusion_matrix(truth, prediction, classes=len(names), ignore=IGNORED)
            one = Scores.from_confusion(confusion, names, background=background)
            images[found.of.number] = ImageScore(
                name=pair.name,
                mean_iou=one.mean_iou,
                pixel_accuracy=one.pixel_accuracy,
                pixels=ClassPixels.from_confusion(confusion),
                seconds=round(found.seconds, 6),
            )
            total += confusion
            seen(pair, prediction)
    return Evaluation(
        Scores.from_confusion(total, names, background=background),
        tuple(images[number] for number in sorted(images)),
        tuple(failures[number] for number in sorted(failures)),
    )


def _truth(pair: Pair, mask_values: MaskValues, found: Prediction) -> IdMask:
    """Label indices of a pair's mask, which has the size of what was predicted."""
    truth = mask_values.encode(read_mask(pair.mask), file=pair.mask)
    if found.image.shape[:2] != truth.shape:
        raise SizesDiffer(image=pair.image, image_size=_size(found.image), mask=pair.mask, mask_size=_size(truth))
    return truth


def _size(array: NDArray[np.generic]) -> str:
    return f"{array.shape[0]} x {array.shape[1]}"
