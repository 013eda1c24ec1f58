"""Scores of a whole data set from its confusion matrix, computed with NumPy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel

from maskwright.errors import InputError, wrong_argument
from maskwright.metrics.absent_classes import mean_over_present

_MAX_LISTED_IDS = 8


class MaskShapesDiffer(InputError):
    """A ground truth mask and a predicted mask of different shapes."""

    text = "a prediction of shape {found} for a truth of shape {expected}: masks must have the same height and width."


class NotClassIds(InputError):
    """A mask with values that are not label ids of the classes."""

    text = "{mask} contains {found}; expected label ids from 0 to {last}. {remedy}"


def confusion_matrix(
    truth: NDArray[np.integer], prediction: NDArray[np.integer], *, classes: int, ignore: int | None = None
) -> NDArray[np.int64]:
    """Count pixels by true class (rows) and predicted class (columns), as int64 (classes, classes).

    The matrix of a data set is the sum of the matrices of its images.

    Args:
        truth: Ground truth label ids from 0 to ``classes`` - 1, of any shape and integer dtype.
        prediction: Predicted label ids in the same range and of the same shape as ``truth``.
        classes: Number of classes, including background.
        ignore: Label id of the pixels in ``truth`` to exclude.

    Raises:
        MaskShapesDiffer: The masks have different shapes.
        NotClassIds: A mask does not have an integer dtype, or contains an id that is out of range.

    >>> confusion_matrix(np.array([0, 0, 1, 9]), np.array([0, 1, 1, 0]), classes=2, ignore=9)
    array([[1, 1],
           [0, 1]])
    """
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    if truth.shape != prediction.shape:
        raise MaskShapesDiffer(found=prediction.shape, expected=truth.shape)
    if ignore is not None and not (valid := truth != ignore).all():
        truth, prediction = truth[valid], prediction[valid]
    _check_label_ids("truth", truth, classes)
    _check_label_ids("prediction", prediction, classes)
    cells = truth.ravel().astype(np.intp) * classes + prediction.ravel().astype(np.intp)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes).astype(np.int64)


def iou(
    truth: NDArray[np.integer], prediction: NDArray[np.integer], *, classes: int, ignore: int | None = None
) -> NDArray[np.float64]:
    """Compute the intersection over union of each class in [0, 1], shape (classes,); NaN for a class in neither mask.

    Args:
        truth: Ground truth label ids from 0 to ``classes`` - 1, of any shape and integer dtype.
        prediction: Predicted label ids in the same range and of the same shape as ``truth``.
        classes: Number of classes, including background.
        ignore: Label id of the pixels in ``truth`` to exclude.

    Raises:
        MaskShapesDiffer: The masks have different shapes.
        NotClassIds: A mask does not have an integer dtype, or contains an id that is out of range.

    >>> iou(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0]), classes=3, ignore=2)
    array([0.5, 0.5, nan])
    """
    return iou_from_counts(*_class_counts(confusion_matrix(truth, prediction, classes=classes, ignore=ignore)))


def iou_from_counts(true_positives: ArrayLike, truth: ArrayLike, predicted: ArrayLike) -> NDArray[np.float64]:
    """Compute the intersection over union from pixel counts, or NaN where both masks are empty.

    Args:
        true_positives: Numbers of pixels of the class in both masks, as an array of any shape.
        truth: Numbers of pixels of the class in the ground truth, in a shape that broadcasts with ``true_positives``.
        predicted: Numbers of pixels of the class in the prediction, in a shape that broadcasts with ``true_positives``.

    >>> iou_from_counts([90, 5, 0], [92, 8, 0], [93, 7, 0]).round(4)
    array([0.9474, 0.5   ,    nan])
    """
    intersection = np.asarray(true_positives)
    return _ratio(intersection, np.asarray(truth) + np.asarray(predicted) - intersection)


class ClassScore(BaseModel, frozen=True, extra="forbid"):
    """Scores of one class, each in [0, 1] or None where its denominator is 0, and the pixel counts of the class."""

    name: str
    iou: float | None
    f_score: float | None
    precision: float | None
    recall: float | None
    truth_pixels: int
    predicted_pixels: int


class Scores(BaseModel, frozen=True, extra="forbid"):
    """Scores of a data set over all valid pixels, which can be serialised to JSON.

    A class that is absent by the rule of `maskwright.metrics` has no IoU and no F-score and is excluded from
    ``mean_iou``.
    """

    classes: tuple[ClassScore, ...]
    mean_iou: float | None
    """Mean IoU of the present classes, excluding the background if there is one."""
    pixel_accuracy: float | None
    """Fraction of valid pixels, including background, that are classified correctly, or None without valid pixels."""
    absent: tuple[str, ...]
    """Names of the classes in neither the ground truth nor the prediction, which are excluded from the mean."""
    background: bool
    """Whether the first class is the background."""
    confusion: tuple[tuple[int, ...], ...]

    @property
    def mean_dice(self) -> float | None:
        """Mean Dice coefficient (F-score) of the present classes, excluding the background if there is one.

        The coefficient of a class is computed from its pixel counts over all images: twice the true positives, divided
        by the sum of the ground truth and the predicted pixels (Dice, 1945). It is None if no class is present.

        >>> Scores.from_confusion([[90, 2], [3, 5]], ["background", "cell"], background=True).mean_dice
        0.666...
        """
        f_scores = [np.nan if line.f_score is None else line.f_score for line in self.classes[self.background :]]
        return _none_if_nan(mean_over_present(f_scores))

    @classmethod
    def from_confusion(
        cls, confusion: NDArray[np.integer], names: Sequence[str], *, background: bool = False
    ) -> Scores:
        """Compute the scores of a data set from its `confusion_matrix`.

        Args:
            confusion: Pixel counts of shape (classes, classes), with true classes in rows and predicted classes in
                columns.
            names: Names of the classes, one per row of ``confusion``.
            background: Whether row 0 is the background, which has its own `ClassScore` but is excluded from the mean.

        Raises:
            WrongArgument: The matrix is not square, or the number of names differs from the number of rows.

        >>> scores = Scores.from_confusion([[90, 2], [3, 5]], ["background", "cell"], background=True)
        >>> scores.mean_iou, scores.classes[1].precision, scores.pixel_accuracy
        (0.5, 0.714..., 0.95)
        """
        matrix = np.asarray(confusion)
        if matrix.shape != (len(names), len(names)):
            raise wrong_argument("confusion", matrix.shape, expected=f"one row and column for each of {list(names)}")
        true_positives, truth_pixels, predicted_pixels = _class_counts(matrix)
        ious = iou_from_counts(true_positives, truth_pixels, predicted_pixels)
        f_scores = _ratio(2 * true_positives, truth_pixels + predicted_pixels)
        precisions, recalls = _ratio(true_positives, predicted_pixels), _ratio(true_positives, truth_pixels)
        averaged = ious[background:]
        return cls(
            classes=tuple(
                ClassScore(
                    name=name,
                    iou=_none_if_nan(ious[row]),
                    f_score=_none_if_nan(f_scores[row]),
                    precision=_none_if_nan(precisions[row]),
                    recall=_none_if_nan(recalls[row]),
                    truth_pixels=int(truth_pixels[row]),
                    predicted_pixels=int(predicted_pixels[row]),
                )
                for row, name in enumerate(names)
            ),
            mean_iou=_none_if_nan(mean_over_present(averaged)),
            pixel_accuracy=_none_if_nan(_ratio(true_positives.sum(), matrix.sum())),
            absent=tuple(name for name, score in zip(names[background:], averaged, strict=True) if np.isnan(score)),
            background=background,
            confusion=tuple(tuple(map(int, row)) for row in matrix),
        )


def _class_counts(matrix: NDArray[np.integer]) -> tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.integer]]:
    """Return the numbers of true positive, ground truth and predicted pixels, each of shape (classes,)."""
    return matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)


def _ratio(numerator: ArrayLike, denominator: ArrayLike) -> NDArray[np.float64]:
    """Return the ratio of two arrays, which is NaN where the denominator is 0."""
    undefined = np.full(np.shape(denominator), np.nan)
    return np.divide(numerator, denominator, out=undefined, where=np.asarray(denominator) > 0)


def _none_if_nan(score: float | NDArray[np.float64]) -> float | None:
    return None if np.isnan(score) else float(score)


def _check_label_ids(mask: str, values: NDArray[np.integer], classes: int) -> None:
    if values.dtype.kind not in "iub":
        raise NotClassIds(
            mask=mask,
            found=f"values of type {values.dtype}",
            last=classes - 1,
            remedy="Pass an integer mask with the class of each pixel.",
        )
    if values.size and (values.min() < 0 or values.max() >= classes):
        unexpected = [int(value) for value in np.unique(values) if not 0 <= value < classes]
        listed = ", ".join(map(str, unexpected[:_MAX_LISTED_IDS]))
        found = f"ids {listed}" + (", ..." if len(unexpected) > _MAX_LISTED_IDS else "")
        raise NotClassIds(mask=mask, found=found, last=classes - 1, remedy="Exclude unlabelled pixels with ignore=.")
