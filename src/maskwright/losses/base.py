"""Base classes of the losses: Keras losses that can be added, scaled and serialised."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any, final

import keras

from maskwright.errors import InputError
from maskwright.losses.arguments import CHECKS, Option, check_no_sample_weight, check_non_negative
from maskwright.losses.targets import Tensor

register = keras.saving.register_keras_serializable(package="maskwright")


class LogitsMixedWithProbabilities(InputError):
    """A sum of a loss on logits and a loss on probabilities, which would interpret ``y_pred`` in two ways."""

    text = (
        "{with_logits} has from_logits=True, but {without_logits} takes probabilities, and both would get the same "
        "y_pred. End the network with a sigmoid or softmax and use from_logits=False."
    )


class SegmentationLoss(keras.losses.Loss, ABC):
    """Base class of losses over a batch of masks, whose value is a float32 scalar.

    ``y_true`` contains label ids, (n, h, w) or (n, h, w, 1), or one-hot masks (n, h, w, c). ``y_pred`` contains
    probabilities (n, h, w, c), or logits if ``from_logits`` is true. Losses can be added with ``+`` and multiplied by a
    number with ``*``; the result is a `SegmentationLoss` whose configuration contains the whole expression. Sample
    weights are rejected because a batch is scored as a whole.
    """

    from_logits: bool = False

    def __init__(self, *, name: str) -> None:
        super().__init__(name=name, dtype="float32")

    @abstractmethod
    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of a batch as a scalar."""

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Return the loss of a batch as a scalar.

        Raises:
            WrongArgument: ``sample_weight`` is not None.
        """
        check_no_sample_weight(sample_weight)
        return super().__call__(y_true, y_pred)

    @abstractmethod
    def get_config(self) -> dict[str, object]:
        """Return the configuration from which `from_config` recreates this loss."""

    def __add__(self, other: SegmentationLoss) -> SegmentationLoss:
        if not isinstance(other, SegmentationLoss):
            return NotImplemented
        return SumOfLosses([*_terms(self), *_terms(other)])

    def __radd__(self, other: object) -> SegmentationLoss:
        return self if isinstance(other, int) and other == 0 else NotImplemented  # 0 is the start value of sum()

    def __mul__(self, factor: float) -> SegmentationLoss:
        return ScaledLoss(self, factor=factor) if isinstance(factor, Real) else NotImplemented

    __rmul__ = __mul__


class FunctionLoss(SegmentationLoss):
    """Base class of losses that apply a function with fixed options.

    Args:
        function: Function that is called as ``function(y_true, y_pred, **options)`` and returns a scalar.
        name: Name of the loss.
        **options: Options of the function, which are checked and stored in the configuration.
    """

    def __init__(self, function: Callable[..., Tensor], *, name: str, **options: object) -> None:
        super().__init__(name=name)
        self._function = function
        self.options: Mapping[str, Option] = {option: CHECKS[option](value) for option, value in options.items()}
        self.from_logits = bool(self.options.get("from_logits", False))

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of a batch as a scalar."""
        return self._function(y_true, y_pred, **self.options)

    def get_config(self) -> dict[str, object]:
        """Return the configuration: the name and the options."""
        return {"name": self.name, **self.options}


@final
@register
class SumOfLosses(SegmentationLoss):
    """Sum of several losses, as created by ``a + b``.

    Args:
        losses: Terms of the sum. All of them must accept probabilities, or all of them logits.
        name: Name of the loss; by default, the names of the terms joined by ``_plus_``.

    Raises:
        LogitsMixedWithProbabilities: Some terms have ``from_logits=True`` and others do not.
    """

    def __init__(self, losses: Iterable[SegmentationLoss], *, name: str | None = None) -> None:
        self.losses = tuple(losses)
        with_logits = [loss.name for loss in self.losses if loss.from_logits]
        without_logits = [loss.name for loss in self.losses if not loss.from_logits]
        if with_logits and without_logits:
            raise LogitsMixedWithProbabilities(with_logits=with_logits[0], without_logits=without_logits[0])
        super().__init__(name=name or "_plus_".join(loss.name for loss in self.losses))
        self.from_logits = bool(with_logits)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of a batch as a scalar."""
        return sum(loss.call(y_true, y_pred) for loss in self.losses)

    def get_config(self) -> dict[str, object]:
        """Return the configuration: the name and the serialised terms."""
        return {"name": self.name, "losses": [keras.saving.serialize_keras_object(loss) for loss in self.losses]}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> SumOfLosses:
        """Create a sum of losses from its configuration."""
        return cls(map(keras.saving.deserialize_keras_object, config["losses"]), name=config["name"])


@final
@register
class ScaledLoss(SegmentationLoss):
    """Product of a loss and a number, as created by ``0.5 * a``.

    Args:
        loss: Loss to multiply.
        factor: Finite number of at least 0 by which the loss is multiplied.
        name: Name of the loss; by default, ``<factor>_times_<name>``.

    Raises:
        WrongArgument: ``factor`` is negative or not finite.
    """

    def __init__(self, loss: SegmentationLoss, *, factor: float, name: str | None = None) -> None:
        self.loss, self.factor = loss, check_non_negative("factor", factor)
        super().__init__(name=name or f"{factor:g}_times_{loss.name}")
        self.from_logits = loss.from_logits

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of a batch as a scalar."""
        return self.factor * self.loss.call(y_true, y_pred)

    def get_config(self) -> dict[str, object]:
        """Return the configuration: the name, the factor and the serialised loss."""
        return {"name": self.name, "factor": self.factor, "loss": keras.saving.serialize_keras_object(self.loss)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ScaledLoss:
        """Create a scaled loss from its configuration."""
        return cls(**{**config, "loss": keras.saving.deserialize_keras_object(config["loss"])})


def _terms(loss: SegmentationLoss) -> tuple[SegmentationLoss, ...]:
    return loss.losses if isinstance(loss, SumOfLosses) else (loss,)
