"""Rule by which a class in neither the ground truth nor the prediction has no score and is excluded from means."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def mean_over_present(scores: ArrayLike) -> NDArray[np.float64]:
    """Compute the mean over the last axis, excluding absent classes, whose score is NaN; it is NaN if all are absent.

    >>> mean_over_present([[0.5, np.nan, 0.25], [np.nan, np.nan, np.nan]])
    array([0.375,   nan])
    """
    scores = np.asarray(scores)
    present = np.isfinite(scores).sum(axis=-1)
    total = np.nansum(scores, axis=-1)
    return np.divide(total, present, out=np.full(np.shape(total), np.nan), where=present > 0)
