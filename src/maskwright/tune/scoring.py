"""Scores of masks that are made from stored predictions."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from maskwright.images.components import cleaned
from maskwright.images.labels import IGNORED
from maskwright.inference.bundle import Bundle, TtaTransform
from maskwright.metrics.scores import Scores, confusion_matrix
from maskwright.tune.held_out import HeldOutPredictions
from maskwright.tune.search import Monitor, score_counts

Mask = NDArray[np.uint8]
"""Label indices, (h, w)."""


class MaskScorer:
    """Computes the monitored score of masks of held-out images.

    Args:
        predicted: Probabilities of the images.
        bundle: The untuned bundle, which turns probabilities into label indices.
        monitor: The score.
    """

    def __init__(self, predicted: HeldOutPredictions, bundle: Bundle, monitor: Monitor) -> None:
        self.predicted = predicted
        self.bundle = bundle
        self.monitor = monitor

    def score(self, masks: Iterable[tuple[int, Mask]]) -> float:
        """Score masks, each given with the index of its image."""
        images = self.predicted.images
        matrices = [
            confusion_matrix(images[index].truth, mask, classes=len(self.bundle.labels), ignore=IGNORED)
            for index, mask in masks
        ]
        if self.monitor == "mean_precision":
            counts = np.array(matrices)
            true_positives, truth, predicted = counts[:, 1, 1], counts[:, 1].sum(axis=1), counts[:, :, 1].sum(axis=1)
            return float(score_counts(true_positives, truth, predicted, monitor=self.monitor))
        names = [label.name for label in self.bundle.labels]
        return Scores.from_confusion(np.sum(matrices, axis=0), names, background=self.bundle.background).mean_iou or 0.0

    def score_transforms(self, transforms: Sequence[TtaTransform], *, fill_holes: bool = False) -> float:
        """Score the masks of all predicted images under the transforms ``transforms``."""
        return self.score((index, self.mask(index, transforms, fill_holes=fill_holes)) for index in self.indices)

    def mask(self, index: int, transforms: Sequence[TtaTransform] = (), *, fill_holes: bool = False) -> Mask:
        """Return the label indices of an image at the threshold 0.5, or of the most probable class."""
        return cleaned(self.bundle.decide(self.predicted.mean(index, transforms)), fill_holes=fill_holes)

    def truth(self, index: int) -> Mask:
        """Return the label indices of the truth of an image."""
        return self.predicted.images[index].truth

    @property
    def indices(self) -> list[int]:
        """Indices of the predicted images."""
        return self.predicted.predicted_indices


MasksOfNetwork = Mapping[int, Mask]
"""Masks of one network, by index of the image."""
