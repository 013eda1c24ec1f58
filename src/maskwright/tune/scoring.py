"""Score masks computed from stored predictions."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from maskwright.images.components import cleaned
from maskwright.images.labels import IGNORED
from maskwright.inference.bundle import Bundle, TtaTransform
from maskwright.metrics.monitor import Monitor
from maskwright.metrics.scores import Scores, confusion_matrix
from maskwright.tune.halves import HalfScores, split_into_halves
from maskwright.tune.held_out import HeldOutPredictions
from maskwright.tune.search import score_counts

Mask = NDArray[np.uint8]
"""Mask of label indices, (h, w)."""


class MaskScorer:
    """Compute the monitored score of predicted masks of held-out images.

    Args:
        predicted: Stored probabilities that were predicted for the held-out images.
        bundle: Untuned bundle, whose settings are used to convert probabilities to label indices.
        monitor: Name of the score to compute.
        groups: Group of each image that must be in the same half as others, by the name of the image.

    Attributes:
        halves: Halves of the images with stored predictions.
    """

    def __init__(
        self, predicted: HeldOutPredictions, bundle: Bundle, monitor: Monitor, *, groups: Mapping[str, str]
    ) -> None:
        self.predicted = predicted
        self.bundle = bundle
        self.monitor = monitor
        self.halves = split_into_halves({index: predicted.images[index].pair.name for index in self.indices}, groups)

    def score(self, masks: Iterable[tuple[int, Mask]]) -> HalfScores:
        """Return the scores of both halves of predicted masks, each given as a tuple of its image's index and the mask.

        A half without any of the masks has the score 0.
        """
        images, classes = self.predicted.images, len(self.bundle.labels)
        matrices = {
            index: confusion_matrix(images[index].truth, mask, classes=classes, ignore=IGNORED) for index, mask in masks
        }
        return HalfScores(
            *(self._score_half([matrices[index] for index in half if index in matrices]) for half in self.halves)
        )

    def _score_half(self, matrices: Sequence[NDArray[np.int64]]) -> float:
        if not matrices:
            return 0.0
        if self.monitor == "mean_precision":
            counts = np.array(matrices)
            true_positives, truth, predicted = counts[:, 1, 1], counts[:, 1].sum(axis=1), counts[:, :, 1].sum(axis=1)
            return float(score_counts(true_positives, truth, predicted, monitor=self.monitor))
        names = [label.name for label in self.bundle.labels]
        scores = Scores.from_confusion(np.sum(matrices, axis=0), names, background=self.bundle.background)
        return (scores.mean_iou if self.monitor == "mean_iou" else scores.mean_dice) or 0.0

    def score_transforms(self, transforms: Sequence[TtaTransform], *, fill_holes: bool = False) -> HalfScores:
        """Return the scores of the masks of all stored images, with test-time augmentation by ``transforms``."""
        return self.score((index, self.mask(index, transforms, fill_holes=fill_holes)) for index in self.indices)

    def mask(self, index: int, transforms: Sequence[TtaTransform] = (), *, fill_holes: bool = False) -> Mask:
        """Return the predicted label indices of an image: by a threshold of 0.5, or of the most probable classes."""
        return cleaned(self.bundle.decide(self.predicted.mean(index, transforms)), fill_holes=fill_holes)

    def truth(self, index: int) -> Mask:
        """Return the ground-truth label indices of an image."""
        return self.predicted.images[index].truth

    @property
    def indices(self) -> list[int]:
        """Indices of the images with stored predictions."""
        return self.predicted.predicted_indices


MasksOfNetwork = Mapping[int, Mask]
"""Masks predicted by one network, by the index of the image."""
