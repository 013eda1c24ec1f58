"""The learning rate at which a network learns fastest, found by raising it step by step.

Smith, "Cyclical learning rates for training neural networks" (WACV 2017), section 3.3.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from maskwright.errors import InputError
from maskwright.training.train_step import Step

LOWEST, HIGHEST = 1e-6, 1.0
STEPS: Final = 100
_SMOOTH: Final = 0.9  # of the moving average of losses
_DIVERGED: Final = 4.0  # times the lowest loss
_FEWEST: Final = 3  # points of a curve
_SKIPPED: Final = 0.1  # of the curve, from its beginning, where the average has seen too little


class NoRate(InputError):
    """Losses that fall nowhere."""

    text = (
        "The loss fell at no learning rate from {lowest:g} to {highest:g}; look at the masks with `maskwright check`, "
        "and try another training.loss or more steps."
    )


@dataclass(frozen=True)
class Curve:
    """The loss at every learning rate that was tried, and its moving average, corrected for its beginning."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smooth: tuple[float, ...]

    @property
    def suggested(self) -> float:
        """The rate at which the smoothed loss falls most steeply, over the logarithm of the rate, before its minimum.

        Raises:
            NoRate: It falls nowhere.
        """
        if len(self.rates) < _FEWEST:
            raise NoRate(lowest=LOWEST, highest=self.rates[-1] if self.rates else LOWEST)
        first, lowest = math.ceil(_SKIPPED * len(self.rates)), int(np.argmin(self.smooth))
        slopes = np.gradient(np.array(self.smooth), np.log(self.rates))[first:lowest]
        if not slopes.size or slopes.min() >= 0:
            raise NoRate(lowest=self.rates[0], highest=self.rates[-1])
        return self.rates[first + int(slopes.argmin())]


def smoothed(losses: Sequence[float]) -> tuple[float, ...]:
    """The moving average of ``losses``, whose first values count as much as they would without a beginning.

    >>> smoothed([2.0, 2.0, 2.0])
    (2.0, 2.0, 2.0)
    """
    averages, average = [], 0.0
    for number, loss in enumerate(losses, start=1):
        average = _SMOOTH * average + (1 - _SMOOTH) * loss
        averages.append(average / (1 - _SMOOTH**number))
    return tuple(averages)


def try_rates(
    step: Step,
    set_rate: Callable[[float], None],
    batches: Iterator[tuple[Any, Any]],
    *,
    steps: int = STEPS,
    lowest: float = LOWEST,
    highest: float = HIGHEST,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> Curve:
    """Take steps whose rate rises evenly in its logarithm, until the smoothed loss is four times its lowest.

    Args:
        step: Learns from a batch and returns its loss.
        set_rate: Sets the learning rate of the next step.
        batches: Images and what is to be learnt of them, for as many steps.
        steps: The most steps.
        lowest: The first rate.
        highest: The last.
        watch: Called with the steps taken and all there are.
    """
    rates, losses = [], []
    for number, rate in enumerate(np.geomspace(lowest, highest, steps), start=1):
        set_rate(float(rate))
        loss = step(*next(batches))
        if not math.isfinite(loss):
            break
        rates.append(float(rate))
        losses.append(loss)
        watch(number, steps)
        averages = smoothed(losses)
        if averages[-1] > _DIVERGED * min(averages):
            break
    return Curve(tuple(rates), tuple(losses), smoothed(losses))
