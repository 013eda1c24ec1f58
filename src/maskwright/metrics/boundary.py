"""F-score of class boundaries, computed with NumPy and SciPy."""

import math

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import wrong_argument
from maskwright.metrics.scores import MaskShapesDiffer

DEFAULT_TOLERANCE = 0.0075
"""Tolerance used by Csurka et al. (2013), as a fraction of the image diagonal."""


def boundary_f_score(
    truth: NDArray[np.integer],
    prediction: NDArray[np.integer],
    *,
    classes: int,
    tolerance: float | None = None,
    ignore: int | None = None,
) -> NDArray[np.float64]:
    """Compute the boundary F-score (Csurka et al., 2013) of each class in one image, in [0, 1], as an array (classes,).

    Precision is the fraction of predicted boundary pixels within the tolerance of a true boundary pixel, and recall is
    the fraction of true boundary pixels within the tolerance of a predicted boundary pixel. The score is their harmonic
    mean, or 0 if only one mask has a boundary. If neither mask has a boundary, the score is NaN. For a data set,
    compute the mean over images, excluding NaN.

    A boundary pixel is a pixel of the class with a 4-neighbour of another class. Image borders and ignored pixels are
    not boundaries.

    Args:
        truth: Ground truth label ids of shape (h, w).
        prediction: Predicted label ids of shape (h, w).
        classes: Number of classes, including background.
        tolerance: Distance in pixels within which boundaries match; by default, 0.75 % of the image diagonal.
        ignore: Label id of the pixels in ``truth`` that are excluded from both masks.

    Raises:
        MaskShapesDiffer: The masks have different shapes.
        WrongArgument: The masks are not two-dimensional, or the tolerance is negative.

    >>> truth = np.array([[0, 0, 1, 1, 1]])
    >>> prediction = np.array([[0, 0, 0, 0, 1]])  # shifted by two pixels
    >>> boundary_f_score(truth, prediction, classes=2, tolerance=2)
    array([1., 1.])
    >>> boundary_f_score(truth, prediction, classes=2, tolerance=1)
    array([0., 0.])
    """
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    if truth.shape != prediction.shape:
        raise MaskShapesDiffer(found=prediction.shape, expected=truth.shape)
    if truth.ndim != 2:
        raise wrong_argument("truth", truth.shape, expected="one mask of shape (height, width)")
    valid = np.ones(truth.shape, dtype=bool) if ignore is None else truth != ignore
    distance = tolerance_in_pixels(tolerance, truth.shape)
    return np.array([_f_score(truth == label, prediction == label, valid, distance) for label in range(classes)])


def tolerance_in_pixels(tolerance: float | None, size: tuple[int, ...]) -> float:
    """Return ``tolerance`` or, if it is None, 0.75 % of the diagonal of an image of ``size`` (height, width).

    Raises:
        WrongArgument: The tolerance is negative.
    """
    if tolerance is None:
        return DEFAULT_TOLERANCE * math.hypot(*size)
    if not tolerance >= 0:
        raise wrong_argument("tolerance", tolerance, expected="a distance in pixels of at least 0")
    return tolerance


def _f_score(
    truth: NDArray[np.bool_], prediction: NDArray[np.bool_], valid: NDArray[np.bool_], distance: float
) -> float:
    true_boundary, predicted_boundary = _boundary(truth, valid), _boundary(prediction, valid)
    if not (true_boundary.any() or predicted_boundary.any()):
        return math.nan
    if not (true_boundary.any() and predicted_boundary.any()):
        return 0.0
    precision = _fraction_within(distance, predicted_boundary, true_boundary)
    recall = _fraction_within(distance, true_boundary, predicted_boundary)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _boundary(mask: NDArray[np.bool_], valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from scipy.ndimage import binary_dilation  # SciPy is installed only by the training extra

    near_another_class: NDArray[np.bool_] = binary_dilation(~mask & valid)
    return mask & valid & near_another_class


def _fraction_within(distance: float, pixels: NDArray[np.bool_], reference: NDArray[np.bool_]) -> float:
    from scipy.ndimage import distance_transform_edt

    return float((distance_transform_edt(~reference)[pixels] <= distance).mean())
