"""The loss that every loss here is: a Keras object made of a function, that adds, scales and serialises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any, final

import keras

from maskwright.losses.arguments import CHECKS, Option, checked_number, refuse_sample_weight
from maskwright.losses.targets import Tensor

register = keras.saving.register_keras_serializable(package="maskwright")


class SegmentationLoss(keras.losses.Loss, ABC):
    """A loss over a batch of masks: one number, computed in float32.

    ``y_true`` holds ids, (n, h, w) or (n, h, w, 1), or one-hot maps (n, h, w, c); ``y_pred`` holds probabilities
    (n, h, w, c). Losses add, and are multiplied by numbers; the result is again such a loss, whose configuration holds
    the whole expression. Sample weights are refused: a batch is scored as a whole.
    """

    def __init__(self, *, name: str) -> None:
        super().__init__(name=name, dtype="float32")

    @abstractmethod
    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The loss of the batch, a scalar."""

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """The loss of the batch, a scalar.

        Raises:
            WrongArgument: ``sample_weight`` is given.
        """
        if sample_weight is not None:
            refuse_sample_weight()
        return super().__call__(y_true, y_pred)

    @abstractmethod
    def get_config(self) -> dict[str, object]:
        """All it takes to make this loss again."""

    def __add__(self, other: SegmentationLoss) -> SegmentationLoss:
        if not isinstance(other, SegmentationLoss):
            return NotImplemented
        return SumOfLosses([*_terms(self), *_terms(other)])

    def __radd__(self, other: object) -> SegmentationLoss:
        return self if isinstance(other, int) and other == 0 else NotImplemented  # where sum() starts

    def __mul__(self, factor: float) -> SegmentationLoss:
        return ScaledLoss(self, factor=factor) if isinstance(factor, Real) else NotImplemented

    __rmul__ = __mul__


class FunctionLoss(SegmentationLoss):
    """A loss that is a function of truth and prediction, with its options; the base of every loss with a name."""

    def __init__(self, function: Callable[..., Tensor], *, name: str, **options: object) -> None:
        super().__init__(name=name)
        self._function = function
        self.options: Mapping[str, Option] = {option: CHECKS[option](given) for option, given in options.items()}

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The loss of the batch, a scalar."""
        return self._function(y_true, y_pred, **self.options)

    def get_config(self) -> dict[str, object]:
        """The name and every option."""
        return {"name": self.name, **self.options}


@final
@register
class SumOfLosses(SegmentationLoss):
    """The sum of several losses; ``a + b`` makes one."""

    def __init__(self, losses: Iterable[SegmentationLoss], *, name: str | None = None) -> None:
        self.losses = tuple(losses)
        super().__init__(name=name or "_plus_".join(loss.name for loss in self.losses))

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The loss of the batch, a scalar."""
        return sum(loss.call(y_true, y_pred) for loss in self.losses)

    def get_config(self) -> dict[str, object]:
        """The name and the terms, each serialised."""
        return {"name": self.name, "losses": [keras.saving.serialize_keras_object(loss) for loss in self.losses]}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> SumOfLosses:
        """The sum whose `get_config` this is."""
        return cls(map(keras.saving.deserialize_keras_object, config["losses"]), name=config["name"])


@final
@register
class ScaledLoss(SegmentationLoss):
    """A loss times a number; ``0.5 * a`` makes one.

    Raises:
        WrongArgument: The factor is negative or not finite.
    """

    def __init__(self, loss: SegmentationLoss, *, factor: float, name: str | None = None) -> None:
        self.loss, self.factor = loss, checked_number("factor", factor)
        super().__init__(name=name or f"{factor:g}_times_{loss.name}")

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The loss of the batch, a scalar."""
        return self.factor * self.loss.call(y_true, y_pred)

    def get_config(self) -> dict[str, object]:
        """The name, the factor and the loss, serialised."""
        return {"name": self.name, "factor": self.factor, "loss": keras.saving.serialize_keras_object(self.loss)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ScaledLoss:
        """The scaled loss whose `get_config` this is."""
        return cls(**{**config, "loss": keras.saving.deserialize_keras_object(config["loss"])})


def _terms(loss: SegmentationLoss) -> tuple[SegmentationLoss, ...]:
    return loss.losses if isinstance(loss, SumOfLosses) else (loss,)
