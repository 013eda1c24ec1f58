"""Scores of a whole data set while it passes in batches: one confusion matrix, kept exactly."""

from abc import ABC, abstractmethod
from typing import final

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from maskwright.losses.arguments import checked_classes, checked_id, checked_number, refuse_sample_weight
from maskwright.losses.base import register
from maskwright.losses.targets import Tensor
from maskwright.metrics.keras_class_ids import read_ids

CARRY = 2**30
"""Counts are kept as two int32 digits of this base: no backend lacks them, and no data set overflows them."""


class ConfusionMetric(keras.metrics.Metric, ABC):
    """A score of the confusion matrix of all batches so far.

    Takes ``y_true`` and ``y_pred`` as `maskwright.losses.SegmentationLoss` does, and refuses sample weights. The prediction
    is the likeliest class or, for one channel, class 1 where the probability is above ``threshold``.
    Pixels whose id is ``ignore`` or no class are not counted.
    """

    def __init__(self, classes: int, *, ignore: int | None, threshold: float, name: str) -> None:
        super().__init__(name=name, dtype="float32")
        self.classes, self.ignore = checked_classes(classes), checked_id(ignore)
        self.threshold = checked_number("threshold", threshold)
        self.digits = self.add_variable(
            (2, self.classes, self.classes), initializer="zeros", dtype="int32", name="confusion"
        )

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        """Count a batch.

        Raises:
            WrongArgument: ``sample_weight`` is given, or the prediction has not the number of classes.
        """
        if sample_weight is not None:
            refuse_sample_weight()
        ids = read_ids(y_true, y_pred, classes=self.classes, ignore=self.ignore, threshold=self.threshold)
        counts = ops.segment_sum(
            ops.reshape(ops.cast(ids.known, "int32"), (-1,)),
            ops.reshape(ids.truth * self.classes + ids.prediction, (-1,)),
            num_segments=self.classes**2,
        )
        high, low = self.digits[0], self.digits[1] + ops.reshape(counts, (self.classes, self.classes))
        self.digits.assign(ops.stack([high + low // CARRY, low % CARRY]))

    def confusion(self) -> NDArray[np.int64]:
        """Pixels by class of the truth (rows) and of the prediction (columns), for `Scores.from_confusion`."""
        high, low = ops.convert_to_numpy(self.digits).astype(np.int64)
        return high * CARRY + low

    def result(self) -> Tensor:
        """The score so far, a scalar."""
        high, low = (ops.cast(self.digits[digit], "float32") for digit in (0, 1))
        return self.score(high * float(CARRY) + low)

    @abstractmethod
    def score(self, confusion: Tensor) -> Tensor:
        """The score of a confusion matrix, float32; NaN where it is unknown."""

    def get_config(self) -> dict[str, object]:
        """All it takes to make this metric again."""
        return {"name": self.name, "classes": self.classes, "ignore": self.ignore, "threshold": self.threshold}


@final
@register
class MeanIoU(ConfusionMetric):
    """The mean over classes of intersection over union, over the whole data set; see `ConfusionMetric`.

    Classes in neither truth nor prediction are left out (see `maskwright.metrics`), and so is class 0 where it is the
    ``background``; with nothing left the value is NaN.

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
        """The mean IoU of a confusion matrix."""
        true_positives = ops.diagonal(confusion)
        union = (ops.sum(confusion, axis=0) + ops.sum(confusion, axis=1) - true_positives)[int(self.background) :]
        overlaps = true_positives[int(self.background) :] / ops.maximum(union, 1.0)
        return ops.sum(overlaps) / ops.sum(ops.cast(union > 0, "float32"))

    def get_config(self) -> dict[str, object]:
        """All it takes to make this metric again."""
        return {**super().get_config(), "background": self.background}


@final
@register
class PixelAccuracy(ConfusionMetric):
    """The share of known pixels that are given their class, over the whole data set; see `ConfusionMetric`.

    >>> metric = PixelAccuracy(2)
    >>> round(float(metric([[[1, 1, 0]]], [[[[0.9], [0.2], [0.4]]]])), 4)
    0.6667
    """

    def __init__(
        self, classes: int, *, ignore: int | None = None, threshold: float = 0.5, name: str = "pixel_accuracy"
    ) -> None:
        super().__init__(classes, ignore=ignore, threshold=threshold, name=name)

    def score(self, confusion: Tensor) -> Tensor:
        """The accuracy of a confusion matrix."""
        return ops.sum(ops.diagonal(confusion)) / ops.sum(confusion)
