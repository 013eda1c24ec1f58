"""Score of the TGS salt identification challenge, computed with NumPy."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maskwright.metrics.scores import MaskShapesDiffer

THRESHOLDS_IN_TWENTIETHS = range(10, 20)
"""IoU thresholds 0.50, 0.55, ..., 0.95 as integers in units of 1/20, so that the comparison is exact."""


def salt_score(truths: Iterable[NDArray], predictions: Iterable[NDArray]) -> float:
    """Return the mean over images of the fraction of IoU thresholds 0.50, 0.55, ..., 0.95 that is exceeded, in [0, 1].

    The comparison is strict: an IoU of 0.5 exceeds no threshold, and an IoU of 1 exceeds all ten. The score of an image
    is 1 if both of its masks are empty, and 0 if only one of them is empty. Unlike in other scores, empty images are
    not excluded. Without images, the score is NaN.

    Args:
        truths: Binary ground truth masks, each of shape (h, w), in which any value except 0 is salt.
        predictions: Predicted binary masks, one per ground truth mask and of the same shape.

    Raises:
        MaskShapesDiffer: The shape of a predicted mask differs from that of its ground truth.
        ValueError: The numbers of ground truth masks and predicted masks differ.

    >>> salt_score([np.array([[1, 1, 1, 0]]), np.zeros((2, 2))], [np.array([[1, 1, 0, 0]]), np.zeros((2, 2))])
    0.7
    """
    scores = [
        _score(np.asarray(truth) != 0, np.asarray(prediction) != 0)
        for truth, prediction in zip(truths, predictions, strict=True)
    ]
    return sum(scores) / len(scores) if scores else float("nan")


def salt_score_from_counts(
    true_positives: ArrayLike, truth_pixels: ArrayLike, predicted_pixels: ArrayLike
) -> NDArray[np.float64]:
    """Compute the `salt_score` of each image from arrays of pixel counts of the same shape.

    Args:
        true_positives: Number of pixels of each image that are salt in both ground truth and prediction.
        truth_pixels: Number of pixels of each image that are salt in the ground truth.
        predicted_pixels: Number of pixels of each image that are salt in the prediction.

    >>> salt_score_from_counts([2, 0, 0], [3, 0, 4], [2, 0, 0]).tolist()
    [0.4, 1.0, 0.0]
    """
    true_positives, truth_pixels, predicted_pixels = (
        np.asarray(counts, np.int64)[..., None] for counts in (true_positives, truth_pixels, predicted_pixels)
    )
    union = truth_pixels + predicted_pixels - true_positives
    thresholds = np.arange(THRESHOLDS_IN_TWENTIETHS.start, THRESHOLDS_IN_TWENTIETHS.stop)
    exceeded = (20 * true_positives > thresholds * union).sum(axis=-1) / len(thresholds)
    return np.where(union[..., 0] == 0, 1.0, exceeded)


def _score(truth: NDArray[np.bool_], prediction: NDArray[np.bool_]) -> float:
    if truth.shape != prediction.shape:
        raise MaskShapesDiffer(found=prediction.shape, expected=truth.shape)
    return float(salt_score_from_counts((truth & prediction).sum(), truth.sum(), prediction.sum()))
