"""The Keras metric that is a mean of scores, without those that are unknown; the base of several here."""

from abc import ABC, abstractmethod

import keras
from keras import ops

from maskwright.losses.arguments import refuse_sample_weight
from maskwright.losses.targets import Tensor


class MeanOfScores(keras.metrics.Metric, ABC):
    """The mean of each class's scores so far, and of these over the classes; NaN while there is none.

    Takes ``y_true`` and ``y_pred`` as `maskwright.losses.SegmentationLoss` does, and refuses sample weights.
    """

    def __init__(self, *, name: str, classes: int = 1) -> None:
        super().__init__(name=name, dtype="float32")
        self.total = self.add_variable((classes,), initializer="zeros", name="total")
        self.number = self.add_variable((classes,), initializer="zeros", name="number")

    @abstractmethod
    def scores(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
        """The sum of the scores of a batch and their number, each (classes,)."""

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        """Take in a batch.

        Raises:
            WrongArgument: ``sample_weight`` is given.
        """
        if sample_weight is not None:
            refuse_sample_weight()
        total, number = self.scores(y_true, y_pred)
        self.total.assign_add(total)
        self.number.assign_add(ops.cast(number, "float32"))

    def result(self) -> Tensor:
        """The mean so far, a scalar."""
        found = self.number > 0
        means = ops.where(found, self.total / ops.maximum(self.number, 1.0), 0.0)
        return ops.sum(means) / ops.sum(ops.cast(found, "float32"))
