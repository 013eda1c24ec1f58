"""The score of the TGS salt identification challenge; NumPy only."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maskwright.metrics.scores import MaskShapesDiffer

TWENTIETHS = range(10, 20)
"""The thresholds 0.50, 0.55 ... 0.95 as twentieths: whole numbers, so that equality is exact."""


def salt_score(truths: Iterable[NDArray], predictions: Iterable[NDArray]) -> float:
    """The share of the IoU thresholds 0.50, 0.55 ... 0.95 passed by an image, and the mean over images; in [0, 1].

    An IoU passes a threshold when it is greater; an IoU of exactly 0.5 passes none, one of 1 passes all ten. An image
    empty in truth and prediction scores 1, and one empty in only one of them 0: here absence is the answer, so unlike
    elsewhere an empty image is not left out. NaN for no images.

    Args:
        truths: One binary mask an image, (h, w); anything but 0 is salt.
        predictions: As many masks, each of the shape of its truth.

    Raises:
        MaskShapesDiffer: A prediction has another shape than its truth.
        ValueError: There are more of one than of the other.

    >>> salt_score([np.array([[1, 1, 1, 0]]), np.zeros((2, 2))], [np.array([[1, 1, 0, 0]]), np.zeros((2, 2))])
    0.7
    """
    scores = [
        _score(np.asarray(truth) != 0, np.asarray(prediction) != 0) for truth, prediction in zip(truths, predictions, strict=True)
    ]
    return sum(scores) / len(scores) if scores else float("nan")


def score_of_counts(true_positives: ArrayLike, truth: ArrayLike, prediction: ArrayLike) -> NDArray[np.float64]:
    """The same of images of which pixels are counted: in both masks, in the truth and in the prediction; of any shape.

    >>> score_of_counts([2, 0, 0], [3, 0, 4], [2, 0, 0]).tolist()
    [0.4, 1.0, 0.0]
    """
    true_positives, truth, prediction = (np.asarray(counts, np.int64)[..., None] for counts in (true_positives, truth, prediction))
    union = truth + prediction - true_positives
    passed = (20 * true_positives > np.arange(TWENTIETHS.start, TWENTIETHS.stop) * union).sum(axis=-1) / len(TWENTIETHS)
    return np.where(union[..., 0] == 0, 1.0, passed)


def _score(truth: NDArray[np.bool_], prediction: NDArray[np.bool_]) -> float:
    if truth.shape != prediction.shape:
        raise MaskShapesDiffer(found=prediction.shape, expected=truth.shape)
    return float(score_of_counts((truth & prediction).sum(), truth.sum(), prediction.sum()))
