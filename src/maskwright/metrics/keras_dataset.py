"""Keras metrics of a whole data set, computed from one exact confusion matrix over all batches."""

from abc import ABC, abstractmethod
from typing import final

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from maskwright.losses.arguments import check_class_count, check_ignore, check_no_sample_weight, check_non_negative
from maskwright.losses.base import register
from maskwright.losses.targets import Tensor
from maskwright.metrics.keras_class_ids import read_label_ids

DIGIT_BASE = 2**30
"""Base of the two int32 digits that represent each count; all backends support int32, and no digit overflows."""


class ConfusionMetric(keras.metrics.Metric, ABC):
    """Base class of scores computed from the confusion matrix of all batches so far.

    ``y_true`` and ``y_pred`` have the same format as in `maskwright.losses.SegmentationLoss`; sample weights are
    rejected.

    Args:
        classes: Number of classes, including background; 2 for a prediction with one channel.
        ignore: Label id of the pixels to exclude. Pixels whose id is not a class are also excluded.
        threshold: Probability above which a pixel of a single-channel prediction is class 1; other pixels are class 0.
        name: Name of the metric.

    Raises:
        WrongArgument: An argument has an invalid value.
    """

    def __init__(self, classes: int, *, ignore: int | None, threshold: float, name: str) -> None:
        super().__init__(name=name, dtype="float32")
        self.classes, self.ignore = check_class_count(classes), check_ignore(ignore)
        self.threshold = check_non_negative("threshold", threshold)
        self.digits = self.add_variable(
            (2, self.classes, self.classes), initializer="zeros", dtype="int32", name="confusion"
        )

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        """Add the pixel counts of a batch to the confusion matrix.

        Raises:
            WrongArgument: ``sample_weight`` is not None, or the prediction does not have ``classes`` channels.
        """
        check_no_sample_weight(sample_weight)
        ids = read_label_ids(y_true, y_pred, classes=self.classes, ignore=self.ignore, threshold=self.threshold)
        counts = ops.segment_sum(
            ops.reshape(ops.cast(ids.valid, "int32"), (-1,)),
            ops.reshape(ids.truth * self.classes + ids.prediction, (-1,)),
            num_segments=self.classes**2,
        )
        high, low = self.digits[0], self.digits[1] + ops.reshape(counts, (self.classes, self.classes))
        self.digits.assign(ops.stack([high + low // DIGIT_BASE, low % DIGIT_BASE]))

    def confusion(self) -> NDArray[np.int64]:
        """Return the pixel counts by true class (rows) and predicted class (columns) for `Scores.from_confusion`."""
        high, low = ops.convert_to_numpy(self.digits).astype(np.int64)
        return high * DIGIT_BASE + low

    def result(self) -> Tensor:
        """Return the score of all batches so far as a scalar."""
        high, low = (ops.cast(self.digits[digit], "float32") for digit in (0, 1))
        return self.score(high * float(DIGIT_BASE) + low)

    @abstractmethod
    def score(self, confusion: Tensor) -> Tensor:
        """Return the score of a float32 confusion matrix, or NaN if the score is undefined."""

    def get_config(self) -> dict[str, object]:
        """Return the configuration: the name and the arguments."""
        return {"name": self.name, "classes": self.classes, "ignore": self.ignore, "threshold": self.threshold}


@final
@register
class MeanIoU(ConfusionMetric):
    """Mean over classes of the intersection over union, computed over the whole data set.

    Classes that occur in neither the ground truth nor the prediction are excluded. If no class is left, the value is
    NaN.

    Args:
        classes: Number of classes, including background; 2 for a prediction with one channel.
        ignore: Label id of the pixels to exclude. Pixels whose id is not a class are also excluded.
        background: Whether class 0 is the background, which is excluded from the mean.
        threshold: Probability above which a pixel of a single-channel prediction is class 1; other pixels are class 0.
        name: Name of the metric.

    Raises:
        WrongArgument: An argument has an invalid value.

    >>> metric = MeanIoU(2, background=True)
    >>> round(float(metric([[[1, 1, 0]]], [[[[0.9], [0.2], [0.4]]]])), 4)
    0.5
    """

    def __init__(
        self,
        classes: int,
        *,
        ignore: int | None = None,
        background: bool = False,
        threshold: float = 0.5,
        name: str = "mean_iou",
    ) -> None:
        super().__init__(classes, ignore=ignore, threshold=threshold, name=name)
        self.background = background

    def score(self, confusion: Tensor) -> Tensor:
        """Return the mean IoU of a confusion matrix."""
        true_positives = ops.diagonal(confusion)
        union = (ops.sum(confusion, axis=0) + ops.sum(confusion, axis=1) - true_positives)[int(self.background) :]
        ious = true_positives[int(self.background) :] / ops.maximum(union, 1.0)
        return ops.sum(ious) / ops.sum(ops.cast(union > 0, "float32"))

    def get_config(self) -> dict[str, object]:
        """Return the configuration: the name and the arguments."""
        return {**super().get_config(), "background": self.background}


@final
@register
class PixelAccuracy(ConfusionMetric):
    """Fraction of the valid pixels of the whole data set that are classified correctly, or NaN without valid pixels.

    Args:
        classes: Number of classes, including background; 2 for a prediction with one channel.
        ignore: Label id of the pixels to exclude. Pixels whose id is not a class are also excluded.
        threshold: Probability above which a pixel of a single-channel prediction is class 1; other pixels are class 0.
        name: Name of the metric.

    Raises:
        WrongArgument: An argument has an invalid value.

    >>> metric = PixelAccuracy(2)
    >>> round(float(metric([[[1, 1, 0]]], [[[[0.9], [0.2], [0.4]]]])), 4)
    0.6667
    """

    def __init__(
        self, classes: int, *, ignore: int | None = None, threshold: float = 0.5, name: str = "pixel_accuracy"
    ) -> None:
        super().__init__(classes, ignore=ignore, threshold=threshold, name=name)

    def score(self, confusion: Tensor) -> Tensor:
        """Return the accuracy of a confusion matrix."""
        return ops.sum(ops.diagonal(confusion)) / ops.sum(confusion)
