"""Base class of Keras metrics that are means of scores, excluding undefined scores."""

from abc import ABC, abstractmethod

import keras
from keras import ops

from maskwright.losses.arguments import check_no_sample_weight
from maskwright.losses.targets import Tensor


class MeanScoreMetric(keras.metrics.Metric, ABC):
    """Mean over classes of the mean score of each class so far, or NaN before the first score.

    ``y_true`` and ``y_pred`` have the same format as in `maskwright.losses.SegmentationLoss`; sample weights are
    rejected.
    """

    def __init__(self, *, name: str, classes: int = 1) -> None:
        super().__init__(name=name, dtype="float32")
        self.total = self.add_variable((classes,), initializer="zeros", name="total")
        self.count = self.add_variable((classes,), initializer="zeros", name="count")

    @abstractmethod
    def batch_scores(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum and the number of the scores of a batch, each of shape (classes,)."""

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        """Add the scores of a batch to the mean.

        Raises:
            WrongArgument: ``sample_weight`` is not None.
        """
        check_no_sample_weight(sample_weight)
        total, count = self.batch_scores(y_true, y_pred)
        self.total.assign_add(total)
        self.count.assign_add(ops.cast(count, "float32"))

    def result(self) -> Tensor:
        """Return the mean over all batches so far as a scalar."""
        scored = self.count > 0
        means = ops.where(scored, self.total / ops.maximum(self.count, 1.0), 0.0)
        return ops.sum(means) / ops.sum(ops.cast(scored, "float32"))
