"""Grid search over thresholds and minimum component sizes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskwright.images.components import cleaned, components
from maskwright.images.labels import IGNORED
from maskwright.metrics.monitor import Monitor
from maskwright.metrics.salt import salt_score_from_counts
from maskwright.metrics.scores import iou_from_counts

THRESHOLDS: Final = tuple(round(0.05 * step, 2) for step in range(2, 19))
"""Thresholds tried for a sigmoid output, from 0.1 to 0.9."""
_MIN_SIZES: Final = (0, 5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560)  # minimum component sizes to try, in pixels
_MAX_SIZE_FRACTION: Final = 0.02  # largest minimum component size to try, as a fraction of the median image area
_DEFAULT_THRESHOLD: Final = 0.5


@dataclass(frozen=True)
class ThresholdSearch:
    """Scores of one class for each threshold (row) and minimum component size in pixels (column)."""

    thresholds: tuple[float, ...]
    min_sizes: tuple[int, ...]
    scores: NDArray[np.float64]

    @property
    def best(self) -> tuple[float, int, float]:
        """Best threshold and minimum component size, with their score.

        If several combinations have the best score, the threshold nearest to 0.5 is chosen, and then the smallest size.
        """
        ranked = [
            (-round(float(score), 6), abs(threshold - _DEFAULT_THRESHOLD), min_size, threshold)
            for threshold, row in zip(self.thresholds, self.scores, strict=True)
            for min_size, score in zip(self.min_sizes, row, strict=True)
        ]
        score, _, min_size, threshold = min(ranked)
        return threshold, min_size, -score


def min_sizes_to_try(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the minimum component sizes, in pixels, to try for images of the given shapes (h, w)."""
    largest = _MAX_SIZE_FRACTION * float(np.median([height * width for height, width in shapes]))
    return tuple(min_size for min_size in _MIN_SIZES if min_size <= largest)


def search_thresholds(
    images: Iterable[tuple[NDArray[np.uint8], NDArray[np.floating]]],
    *,
    min_sizes: Sequence[int],
    fill_holes: bool,
    monitor: Monitor,
    thresholds: Sequence[float] = THRESHOLDS,
) -> ThresholdSearch:
    """Score every combination of a threshold and a minimum component size on images with a single class.

    Args:
        images: Ground-truth mask (h, w) of label indices 0, 1 or `IGNORED`, and predicted probabilities (h, w), of each
            image.
        min_sizes: Minimum component sizes to try, in pixels.
        fill_holes: Whether to fill holes before small components are removed.
        monitor: Score to compute: ``mean_iou`` or ``dice``, the IoU or the Dice coefficient over all pixels, or
            ``mean_precision``; see `salt_score`.
        thresholds: Thresholds to try, which must include 0.5.
    """
    true_positives, predicted, truths = [], [], []
    for truth, probabilities in images:
        counts = [
            _count_pixels(probabilities > threshold, truth, min_sizes=min_sizes, fill_holes=fill_holes)
            for threshold in thresholds
        ]
        true_positives.append([overlap for overlap, _ in counts])
        predicted.append([area for _, area in counts])
        truths.append(int((truth == 1).sum()))
    scores = score_counts(
        np.moveaxis(np.array(true_positives), 0, -1),
        np.array(truths),
        np.moveaxis(np.array(predicted), 0, -1),
        monitor=monitor,
    )
    return ThresholdSearch(tuple(thresholds), tuple(min_sizes), scores)


def score_min_sizes(
    images: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]], *, label: int, min_sizes: Sequence[int]
) -> NDArray[np.float64]:
    """Compute the IoU of one of several classes for each minimum component size, shape (sizes,).

    Args:
        images: Ground-truth and predicted label indices of each image, (h, w) each.
        label: Label index of the class.
        min_sizes: Minimum component sizes to try, in pixels.
    """
    counts, truth_pixels = [], 0
    for truth, prediction in images:
        counts.append(_count_pixels(prediction == label, truth, min_sizes=min_sizes, fill_holes=False, label=label))
        truth_pixels += int((truth == label).sum())
    true_positives, predicted = np.sum(counts, axis=0)
    return np.nan_to_num(iou_from_counts(true_positives, truth_pixels, predicted))


def score_counts(
    true_positives: NDArray[np.int64], truth: NDArray[np.int64], predicted: NDArray[np.int64], *, monitor: Monitor
) -> NDArray[np.float64]:
    """Compute the score of one class from pixel counts, whose last axis corresponds to the images."""
    if monitor == "mean_precision":
        truth = np.broadcast_to(truth, true_positives.shape)
        return salt_score_from_counts(true_positives, truth, predicted).mean(axis=-1)
    ious = iou_from_counts(true_positives.sum(axis=-1), truth.sum(axis=-1), predicted.sum(axis=-1))
    scores = ious if monitor == "mean_iou" else 2 * ious / (1 + ious)  # the Dice coefficient of the same counts
    return np.nan_to_num(scores)


def _count_pixels(
    mask: NDArray[np.bool_], truth: NDArray[np.uint8], *, min_sizes: Sequence[int], fill_holes: bool, label: int = 1
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the true positives and the predicted pixels of ``label`` for each minimum component size.

    Both counts have the shape (sizes,). Ignored pixels are not counted.
    """
    if fill_holes:
        mask = cleaned(mask.astype(np.uint8), fill_holes=True) == 1
    component_ids, sizes = components(mask, diagonal=True)
    true_positives = np.bincount(component_ids[truth == label], minlength=len(sizes))
    predicted = np.bincount(component_ids[truth != IGNORED], minlength=len(sizes))
    large_enough = (sizes >= np.array(min_sizes)[:, None]) & (np.arange(len(sizes)) > 0)
    return large_enough @ true_positives, large_enough @ predicted
