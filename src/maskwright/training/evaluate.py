"""Evaluate a network or an engine on pairs of images and masks, with the code that predicts masks for files."""

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskwright.data.mask_values import MaskValues
from maskwright.data.pairs import Pair
from maskwright.errors import InputError
from maskwright.images.labels import IGNORED
from maskwright.images.read import read_mask
from maskwright.inference.bundle import Bundle
from maskwright.inference.load_predictor import Predictor
from maskwright.inference.pipeline import FailedImage, NumberedFile, predictions
from maskwright.metrics.monitor import Monitor
from maskwright.metrics.salt import salt_score_from_counts
from maskwright.metrics.scores import Scores, confusion_matrix
from maskwright.training.run_records import ClassPixels, ImageScore, RunScores

IdMask = NDArray[np.uint8]


class SizesDiffer(InputError):
    """Raised if an image and its mask have different sizes."""

    text = "{image}: {image_size} pixels, but its mask {mask} has {mask_size}; expected equal sizes (height x width)."


@dataclass(frozen=True)
class Evaluation:
    """Scores over all pixels of a set of images, and scores of each image.

    Pairs that could not be scored are listed in ``failures`` only.
    """

    scores: Scores
    images: tuple[ImageScore, ...]
    failures: tuple[InputError, ...] = ()
    left_out: tuple[Path, ...] = ()
    """Files of images without a mask and of masks without an image."""

    @property
    def mean_precision(self) -> float | None:
        """Score of the TGS salt challenge (see `salt_score`); None except for a background and one class."""
        if not (self.images and self.scores.background and len(self.scores.classes) == 2):
            return None
        true_positives, truth, predicted = np.array([image.pixels.rows() for image in self.images])[..., 1].T
        return float(salt_score_from_counts(true_positives, truth, predicted).mean())

    def score(self, monitor: Monitor) -> float | None:
        """Return the score named ``monitor``, in [0, 1], or None if it is undefined."""
        if monitor == "mean_precision":
            return self.mean_precision
        return self.scores.mean_iou if monitor == "mean_iou" else self.scores.mean_dice

    def record(self) -> RunScores:
        """Return the evaluation as the content of ``scores.json``."""
        return RunScores(
            mean_precision=self.mean_precision,
            scores=self.scores,
            images=self.images,
            failures=tuple(str(failure) for failure in self.failures),
            left_out=tuple(str(file) for file in self.left_out),
        )


class PredictedMask(NamedTuple):
    """The predicted label indices (h, w) of a file, and the prediction time in seconds."""

    source: NumberedFile
    indices: IdMask
    seconds: float


def evaluate_pairs(
    engine: Predictor,
    pairs: Sequence[Pair],
    *,
    mask_values: MaskValues,
    on_pair: Callable[[Pair, IdMask | None], None] = lambda pair, indices: None,
) -> Evaluation:
    """Predict masks for all images in batches, and compare them with the ground truth.

    Pairs that cannot be scored are listed as failures.

    Args:
        engine: Predictor to evaluate.
        pairs: Pairs of an image and a mask to score.
        mask_values: Meaning of the mask values.
        on_pair: Function called with each pair and its predicted label indices (h, w), or None if the pair could not be
            scored.
    """
    files = [NumberedFile(number, pair.image) for number, pair in enumerate(pairs)]
    with closing(predict_masks(engine, files)) as masks:
        return evaluate_masks(engine.bundle, pairs, masks, mask_values=mask_values, on_pair=on_pair)


def predict_masks(
    engine: Predictor, files: Sequence[NumberedFile]
) -> Generator[PredictedMask | FailedImage, None, None]:
    """Yield the predicted mask of each file, in batches; closing the iterator terminates its threads."""
    with closing(predictions(engine, files, probabilities=False)) as results:
        for result in results:
            if isinstance(result, FailedImage):
                yield result
            else:
                yield PredictedMask(result.source, result.indices(engine.bundle), result.seconds)


def evaluate_masks(
    bundle: Bundle,
    pairs: Sequence[Pair],
    masks: Iterable[PredictedMask | FailedImage],
    *,
    mask_values: MaskValues,
    on_pair: Callable[[Pair, IdMask | None], None] = lambda pair, indices: None,
) -> Evaluation:
    """Compare predicted masks with the ground truth.

    Pairs that cannot be scored are listed as failures.

    Args:
        bundle: Bundle with the labels of the masks.
        pairs: Pairs of an image and a mask to score.
        masks: Predicted mask of each pair, numbered by the index of the pair, in any order.
        mask_values: Meaning of the mask values.
        on_pair: Function called with each pair and its predicted label indices (h, w), or None if the pair could not be
            scored.
    """
    names = [label.name for label in bundle.labels]
    background = bundle.background
    total = np.zeros((len(names), len(names)), np.int64)
    images: dict[int, ImageScore] = {}
    failures: dict[int, InputError] = {}
    for result in masks:
        number, pair = result.source.number, pairs[result.source.number]
        try:
            if isinstance(result, FailedImage):
                raise result.error
            truth = mask_values.encode(read_mask(pair.mask), file=pair.mask)
            check_sizes(pair, image=result.indices.shape, mask=truth.shape)
        except InputError as error:
            failures[number] = error
            on_pair(pair, None)
            continue
        confusion = confusion_matrix(truth, result.indices, classes=len(names), ignore=IGNORED)
        scores = Scores.from_confusion(confusion, names, background=background)
        images[number] = ImageScore(
            name=pair.name,
            mean_iou=scores.mean_iou,
            pixel_accuracy=scores.pixel_accuracy,
            pixels=ClassPixels.from_confusion(confusion),
            seconds=round(result.seconds, 6),
        )
        total += confusion
        on_pair(pair, result.indices)
    return Evaluation(
        Scores.from_confusion(total, names, background=background),
        tuple(images[number] for number in sorted(images)),
        tuple(failures[number] for number in sorted(failures)),
    )


def check_sizes(pair: Pair, *, image: tuple[int, ...], mask: tuple[int, ...]) -> None:
    """Check that the image and the mask of a pair, given by their shapes (h, w, ...), have the same size.

    Raises:
        SizesDiffer: The sizes differ.
    """
    if image[:2] != mask[:2]:
        raise SizesDiffer(
            image=pair.image, image_size=_format_size(image), mask=pair.mask, mask_size=_format_size(mask)
        )


def _format_size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} x {shape[1]}"
