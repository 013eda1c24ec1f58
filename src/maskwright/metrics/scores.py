"""Scores of a whole data set from one matrix of counts; NumPy and pydantic only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel

from maskwright.errors import InputError, wrong_argument


class MaskShapesDiffer(InputError):
    """Truth and prediction do not lie over each other."""

    text = "a prediction of shape {found} for a truth of shape {expected}: masks must have the same height and width."


class NotClassIds(InputError):
    """A mask that holds something else than the ids of the classes."""

    text = "{mask} holds {found}: expected ids from 0 to {last}. {remedy}"


def confusion_matrix(
    truth: NDArray[np.integer], prediction: NDArray[np.integer], *, classes: int, ignore: int | None = None
) -> NDArray[np.int64]:
    """Pixels by class of the truth (rows) and of the prediction (columns), (classes, classes); matrices of images add.

    Args:
        truth: Ids from 0 to classes - 1, of any shape and integer type.
        prediction: Ids likewise, of the same shape.
        classes: Number of classes, background included.
        ignore: The id in ``truth`` of pixels that are not counted.

    Raises:
        MaskShapesDiffer: The shapes are not the same.
        NotClassIds: A mask is not of integers, or holds an id that is no class.

    >>> confusion_matrix(np.array([0, 0, 1, 9]), np.array([0, 1, 1, 0]), classes=2, ignore=9)
    array([[1, 1],
           [0, 1]])
    """
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    if truth.shape != prediction.shape:
        raise MaskShapesDiffer(found=prediction.shape, expected=truth.shape)
    if ignore is not None and not (known := truth != ignore).all():
        truth, prediction = truth[known], prediction[known]
    _refuse_other_than_ids("truth", truth, classes)
    _refuse_other_than_ids("prediction", prediction, classes)
    cells = truth.ravel().astype(np.intp) * classes + prediction.ravel().astype(np.intp)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes).astype(np.int64)


def iou(
    truth: NDArray[np.integer], prediction: NDArray[np.integer], *, classes: int, ignore: int | None = None
) -> NDArray[np.float64]:
    """Intersection over union of each class, (classes,), in [0, 1]; NaN for a class found in neither mask.

    Arguments and errors are those of `confusion_matrix`.

    >>> iou(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0]), classes=3, ignore=2)
    array([0.5, 0.5, nan])
    """
    true_positives, true, predicted = _counts(confusion_matrix(truth, prediction, classes=classes, ignore=ignore))
    return _ratio(true_positives, true + predicted - true_positives)


class ClassScore(BaseModel, frozen=True, extra="forbid"):
    """How well one class is found; a ratio of nothing to nothing is None."""

    name: str
    iou: float | None
    f_score: float | None
    precision: float | None
    recall: float | None
    truth_pixels: int
    predicted_pixels: int


class Scores(BaseModel, frozen=True, extra="forbid"):
    """How good the masks of a data set are, over all of its known pixels; goes to JSON and back.

    Absent classes, by the rule of `maskwright.metrics`, have no IoU and no F-score and are not in ``mean_iou``.
    """

    classes: tuple[ClassScore, ...]
    mean_iou: float | None
    """The mean over the classes that are there, without the background if there is one."""
    pixel_accuracy: float | None
    """The share of known pixels, background included, that are given their class; None if no pixel is known."""
    absent: tuple[str, ...]
    """The classes left out of the mean because they are in neither truth nor prediction."""
    background: bool
    """Whether the first line is the background."""
    confusion: tuple[tuple[int, ...], ...]

    @classmethod
    def from_confusion(
        cls, confusion: NDArray[np.integer], names: Sequence[str], *, background: bool = False
    ) -> Scores:
        """The scores of a `confusion_matrix`.

        Args:
            confusion: (classes, classes), truth in rows.
            names: One for each row.
            background: Whether row 0 is the background, which has a line of its own but no part in the mean.

        Raises:
            WrongArgument: The matrix is not square, or has another number of rows than there are names.

        >>> scores = Scores.from_confusion([[90, 2], [3, 5]], ["background", "cell"], background=True)
        >>> scores.mean_iou, scores.classes[1].precision, scores.pixel_accuracy
        (0.5, 0.714..., 0.95)
        """
        matrix = np.asarray(confusion)
        if matrix.shape != (len(names), len(names)):
            raise wrong_argument("confusion", matrix.shape, expected=f"a row and a column for each of {list(names)}")
        true_positives, true, predicted = _counts(matrix)
        overlaps = _ratio(true_positives, true + predicted - true_positives)
        f_scores = _ratio(2 * true_positives, true + predicted)
        precisions, recalls = _ratio(true_positives, predicted), _ratio(true_positives, true)
        scored = overlaps[background:]
        return cls(
            classes=tuple(
                ClassScore(
                    name=name,
                    iou=_or_none(overlaps[row]),
                    f_score=_or_none(f_scores[row]),
                    precision=_or_none(precisions[row]),
                    recall=_or_none(recalls[row]),
                    truth_pixels=int(true[row]),
                    predicted_pixels=int(predicted[row]),
                )
                for row, name in enumerate(names)
            ),
            mean_iou=_or_none(_ratio(np.nansum(scored), np.isfinite(scored).sum())),
            pixel_accuracy=_or_none(_ratio(true_positives.sum(), matrix.sum())),
            absent=tuple(name for name, score in zip(names[background:], scored, strict=True) if np.isnan(score)),
            background=background,
            confusion=tuple(tuple(map(int, row)) for row in matrix),
        )


def _counts(matrix: NDArray[np.integer]) -> tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.integer]]:
    """Pixels hit, in the truth and in the prediction, each (classes,)."""
    return matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)


def _ratio(part: ArrayLike, whole: ArrayLike) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0)


def _or_none(score: float | NDArray[np.float64]) -> float | None:
    return None if np.isnan(score) else float(score)


def _refuse_other_than_ids(mask: str, values: NDArray[np.integer], classes: int) -> None:
    if values.dtype.kind not in "iub":
        raise NotClassIds(
            mask=mask,
            found=f"values of type {values.dtype}",
            last=classes - 1,
            remedy="Give whole numbers, the class of each pixel.",
        )
    if values.size and (values.min() < 0 or values.max() >= classes):
        others = [int(value) for value in np.unique(values) if not 0 <= value < classes]
        found = "ids " + ", ".join(map(str, others[:8])) + (", ..." if len(others) > 8 else "")
        raise NotClassIds(
            mask=mask, found=found, last=classes - 1, remedy="Pixels of unknown class are left out with ignore=."
        )
