"""Compute confidence intervals of scores by bootstrap resampling of images.

A resample has as many images as the original set, drawn with replacement. All runs are scored on the same resamples, so
that the difficulty of an image, which is common to all runs, cancels in their differences. See Efron and Tibshirani,
"An Introduction to the Bootstrap" (1993).
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskwright.metrics.absent_classes import mean_over_present
from maskwright.metrics.scores import iou_from_counts

RESAMPLES: Final = 2000
PERCENT: Final = 95
"""Confidence level of the intervals, in percent."""

_RESAMPLES_PER_BLOCK: Final = 100  # limits the memory used by the resampling weights

Floats = NDArray[np.float64]


def mean_and_class_ious(pixels: NDArray[np.number], *, background: bool) -> Floats:
    """Return the mean IoU followed by the IoU of each class, (..., 1 + classes).

    The IoU of a class that does not occur is NaN, as defined in `maskwright.metrics`.

    Args:
        pixels: Numbers of true positive, ground-truth and predicted pixels of each class, (..., 3, classes).
        background: Whether class 0 is the background, which is excluded from the mean.

    >>> mean_and_class_ious(np.array([[90, 5, 0], [92, 8, 0], [93, 7, 0]]), background=True).round(4)
    array([0.5   , 0.9474, 0.5   ,    nan])
    """
    ious = iou_from_counts(*np.moveaxis(pixels, -2, 0))
    mean = mean_over_present(ious[..., background:])
    return np.concatenate([mean[..., None], ious], axis=-1)


def bootstrap(pixels: NDArray[np.integer], *, background: bool, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """Return the result of `mean_and_class_ious` for resampled image sets, (resamples, runs, 1 + classes).

    A single image is not resampled, since all resamples would be equal; the first axis of the result then has length 0.

    Args:
        pixels: Numbers of true positive, ground-truth and predicted pixels for each run, image and class,
            (runs, images, 3, classes).
        background: Whether class 0 is the background, which is excluded from the mean.
        resamples: Number of resampled image sets.
        seed: Seed of the resampling. The resamples depend only on the seed and on the number of images.
    """
    runs, images, _, classes = pixels.shape
    if images < 2:
        return np.empty((0, runs, 1 + classes))
    flat = pixels.reshape(runs, images, 3 * classes).astype(np.float64)  # sums of integers are exact up to 2**53
    blocks = resampling_weights(images, resamples=resamples, seed=seed)
    sums = np.concatenate([weights @ flat for weights in blocks], axis=1)  # (runs, resamples, 3 * classes)
    return mean_and_class_ious(sums.reshape(runs, resamples, 3, classes).swapaxes(0, 1), background=background)


def resampling_weights(images: int, *, resamples: int, seed: int) -> Iterator[Floats]:
    """Yield the number of times that each image is drawn in each resample, in blocks of shape (block, images)."""
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, _RESAMPLES_PER_BLOCK):
        block = min(_RESAMPLES_PER_BLOCK, resamples - start)
        yield generator.multinomial(images, np.full(images, 1 / images), size=block).astype(np.float64)


def interval(scores: Floats) -> tuple[float, float] | None:
    """Return the 95 % percentile interval of the scores of all resamples, given as an array (resamples,).

    A resample has no score for a class that is absent from all images of the resample. Such resamples are omitted; if
    no resample has a score, None is returned.

    >>> interval(np.linspace(0, 1, 201))
    (0.025, 0.975)
    """
    present = scores[np.isfinite(scores)]
    if not present.size:
        return None
    tail = (100 - PERCENT) / 2
    low, high = np.percentile(present, [tail, 100 - tail])
    return float(low), float(high)
