"""The F-score of boundaries: how well outlines are followed, whatever lies inside; NumPy and SciPy."""

import math

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import wrong_argument
from maskwright.metrics.scores import MaskShapesDiffer

SHARE_OF_DIAGONAL = 0.0075
"""The tolerance of Csurka et al. 2013, as a share of the image's diagonal."""


def boundary_f_score(
    truth: NDArray[np.integer],
    prediction: NDArray[np.integer],
    *,
    classes: int,
    tolerance: float | None = None,
    ignore: int | None = None,
) -> NDArray[np.float64]:
    """How well the outline of each class is found in one image, (classes,), in [0, 1] (Csurka et al. 2013).

    Precision is the share of the prediction's boundary pixels that lie within the tolerance of one of the truth's, recall
    the share of the truth's within the tolerance of one of the prediction's; the score is their harmonic mean, and 0 where
    only one of the two has a boundary. A class with a boundary in neither is left out, by the rule of
    `maskwright.metrics`: NaN. For a data set take the mean over its images, without the NaNs.

    A boundary pixel is a pixel of the class beside (left, right, above, below) a pixel of another. The frame of the
    image and ignored pixels are no boundary: what lies beyond is not known.

    Args:
        truth: Ids, (h, w).
        prediction: Ids, (h, w).
        classes: Number of classes, background included.
        tolerance: The distance within which boundaries match, pixels; 0.75 % of the image's diagonal by default.
        ignore: The id in ``truth`` of pixels that are left out of both masks.

    Raises:
        MaskShapesDiffer: The shapes are not the same.
        WrongArgument: The masks are not single images, or the tolerance is negative.

    >>> truth = np.array([[0, 0, 1, 1, 1]])
    >>> prediction = np.array([[0, 0, 0, 0, 1]])  # two pixels off
    >>> boundary_f_score(truth, prediction, classes=2, tolerance=2), boundary_f_score(truth, prediction, classes=2, tolerance=1)
    (array([1., 1.]), array([0., 0.]))
    """
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    if truth.shape != prediction.shape:
        raise MaskShapesDiffer(found=prediction.shape, expected=truth.shape)
    if truth.ndim != 2:
        raise wrong_argument("truth", truth.shape, expected="one mask of shape (height, width)")
    known = np.ones(truth.shape, dtype=bool) if ignore is None else truth != ignore
    reach = tolerance_in_pixels(tolerance, truth.shape)
    return np.array([_f_score(truth == row, prediction == row, known, reach) for row in range(classes)])


def tolerance_in_pixels(tolerance: float | None, size: tuple[int, ...]) -> float:
    """The tolerance given, or 0.75 % of the diagonal of an image of (height, width).

    Raises:
        WrongArgument: The tolerance is negative.
    """
    if tolerance is None:
        return SHARE_OF_DIAGONAL * math.hypot(*size)
    if not tolerance >= 0:
        raise wrong_argument("tolerance", tolerance, expected="a distance in pixels, from 0 up")
    return tolerance


def _f_score(truth: NDArray[np.bool_], prediction: NDArray[np.bool_], known: NDArray[np.bool_], reach: float) -> float:
    true, found = _boundary(truth, known), _boundary(prediction, known)
    if not (true.any() or found.any()):
        return math.nan
    if not (true.any() and found.any()):
        return 0.0
    precision, recall = _share_near(found, true, reach), _share_near(true, found, reach)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _boundary(mask: NDArray[np.bool_], known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from scipy.ndimage import binary_dilation

    beside_another: NDArray[np.bool_] = binary_dilation(~mask & known)
    return mask & known & beside_another


def _share_near(pixels: NDArray[np.bool_], others: NDArray[np.bool_], reach: float) -> float:
    from scipy.ndimage import distance_transform_edt

    return float((distance_transform_edt(~others)[pixels] <= reach).mean())
