"""The score of the TGS salt identification challenge; NumPy only."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maskwright.metrics.scores import MaskShapesDiffer

TWENTIETHS = range(10, 20)
"""The thresholds 0.50, 0.55 ... 0.95 as twentieths: whole numbers, so that equality is exact."""


def salt_score(truths: Iterable[NDArray], guesses: Iterable[NDArray]) -> float:
    """The share of the IoU thresholds 0.50, 0.55 ... 0.95 passed by an image, and the mean over images; in [0, 1].

    An IoU passes a threshold when it is greater; an IoU of exactly 0.5 passes none, one of 1 passes all ten. An image
    empty in truth and guess scores 1, and one empty in only one of them 0: here absence is the answer, so unlike
    elsewhere an empty image is not left out. NaN for no images.

    Args:
        truths: One binary mask an image, (h, w); anything but 0 is salt.
        guesses: As many masks, each of the shape of its truth.

    Raises:
        MaskShapesDiffer: A guess has another shape than its truth.
        ValueError: There are more of one than of the other.

    >>> salt_score([np.array([[1, 1, 1, 0]]), np.zeros((2, 2))], [np.array([[1, 1, 0, 0]]), np.zeros((2, 2))])
    0.7
    """
    scores = [
        _score(np.asarray(truth) != 0, np.asarray(guess) != 0) for truth, guess in zip(truths, guesses, strict=True)
    ]
    return sum(scores) / len(scores) if scores else float("nan")


def score_of_counts(hits: ArrayLike, truth: ArrayLike, guess: ArrayLike) -> NDArray[np.float64]:
    """The same of images of which pixels are counted: in both masks, in the truth and in the guess; of any shape.

    >>> score_of_counts([2, 0, 0], [3, 0, 4], [2, 0, 0]).tolist()
    [0.4, 1.0, 0.0]
    """
    hits, truth, guess = (np.asarray(counts, np.int64)[..., None] for counts in (hits, truth, guess))
    union = truth + guess - hits
    passed = (20 * hits > np.arange(TWENTIETHS.start, TWENTIETHS.stop) * union).sum(axis=-1) / len(TWENTIETHS)
    return np.where(union[..., 0] == 0, 1.0, passed)


def _score(truth: NDArray[np.bool_], guess: NDArray[np.bool_]) -> float:
    if truth.shape != guess.shape:
        raise MaskShapesDiffer(found=guess.shape, expected=truth.shape)
    return float(score_of_counts((truth & guess).sum(), truth.sum(), guess.sum()))
