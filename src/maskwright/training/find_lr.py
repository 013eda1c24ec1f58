"""Learning-rate range test: train with increasing learning rates and find the steepest decrease of the loss.

Smith, "Cyclical learning rates for training neural networks" (WACV 2017), section 3.3.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from maskwright.errors import InputError
from maskwright.training.train_step import TrainStep

MIN_LEARNING_RATE: Final = 1e-6
MAX_LEARNING_RATE: Final = 1.0
DEFAULT_STEPS: Final = 100
_SMOOTHING: Final = 0.9  # weight of previous losses in the moving average
_DIVERGENCE_FACTOR: Final = 4.0  # the test stops if the smoothed loss exceeds its minimum by this factor
_MIN_POINTS: Final = 3  # minimum number of points on the curve for a suggestion
_SKIPPED_FRACTION: Final = 0.1  # part of the curve at its start, where the moving average is noisy


class LossDidNotFall(InputError):
    """Raised if the loss did not decrease at any learning rate of a range test."""

    text = (
        "The loss did not decrease at any learning rate from {lowest:g} to {highest:g}; check the masks with "
        "`maskwright check`, and try another training.loss or more steps."
    )


@dataclass(frozen=True)
class LrCurve:
    """Loss at each learning rate of a range test, and the bias-corrected moving average of this loss."""

    learning_rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed_losses: tuple[float, ...]

    @property
    def suggested(self) -> float:
        """Learning rate at which the smoothed loss decreases most steeply over the logarithm of the learning rate.

        Raises:
            LossDidNotFall: The smoothed loss does not decrease at any learning rate before its minimum.
        """
        rates = self.learning_rates
        if len(rates) < _MIN_POINTS:
            raise LossDidNotFall(lowest=MIN_LEARNING_RATE, highest=rates[-1] if rates else MIN_LEARNING_RATE)
        first, lowest = math.ceil(_SKIPPED_FRACTION * len(rates)), int(np.argmin(self.smoothed_losses))
        slopes = np.gradient(np.array(self.smoothed_losses), np.log(rates))[first:lowest]
        if not slopes.size or slopes.min() >= 0:
            raise LossDidNotFall(lowest=rates[0], highest=rates[-1])
        return rates[first + int(slopes.argmin())]


def smooth(losses: Sequence[float]) -> tuple[float, ...]:
    """Return the exponential moving average of ``losses``, with the same bias correction as in Adam.

    >>> smooth([2.0, 2.0, 2.0])
    (2.0, 2.0, 2.0)
    """
    averages, average = [], 0.0
    for number, loss in enumerate(losses, start=1):
        average = _SMOOTHING * average + (1 - _SMOOTHING) * loss
        averages.append(average / (1 - _SMOOTHING**number))
    return tuple(averages)


def lr_range_test(
    step: TrainStep,
    set_learning_rate: Callable[[float], None],
    batches: Iterator[tuple[Any, Any]],
    *,
    steps: int = DEFAULT_STEPS,
    lowest: float = MIN_LEARNING_RATE,
    highest: float = MAX_LEARNING_RATE,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> LrCurve:
    """Train with geometrically increasing learning rates until the loss diverges or all steps are complete.

    The loss has diverged if it is not finite, or if its moving average exceeds four times its lowest moving average.

    Args:
        step: Function that performs a training step on a batch and returns the loss.
        set_learning_rate: Function that sets the learning rate of the next step.
        batches: Iterator over batches of images and targets, one batch for each step.
        steps: Maximum number of steps.
        lowest: Learning rate of the first step.
        highest: Learning rate of the last step.
        progress: Function called with the number of completed steps and the maximum number of steps.
    """
    rates, losses = [], []
    for number, rate in enumerate(np.geomspace(lowest, highest, steps), start=1):
        set_learning_rate(float(rate))
        loss = step(*next(batches))
        if not math.isfinite(loss):
            break
        rates.append(float(rate))
        losses.append(loss)
        progress(number, steps)
        averages = smooth(losses)
        if averages[-1] > _DIVERGENCE_FACTOR * min(averages):
            break
    return LrCurve(tuple(rates), tuple(losses), smooth(losses))
