"""Forecast the number of training steps that a time budget allows, and correct it by the first measured steps."""

from typing import Final, final

import numpy as np

from maskwright.training.cost import StepTimes
from maskwright.training.precision import ComputePrecision
from maskwright.training.schedule import Stopwatch
from maskwright.training.step_rates import forget_rates
from maskwright.training.time_budget import steps_seconds

_FIRST_MEASURED: Final = 3  # steps; earlier ones are slower
_LAST_MEASURED: Final = 20  # steps
_ACCEPTED_RATIO: Final = 1.5  # of a measured time to the expected time, in either direction


def forecast_steps(
    times: StepTimes, *, seconds: float, validation_pixels: int, is_float32: bool, tuning_passes: float | None
) -> int:
    """Forecast the number of steps of a run with a time budget.

    Args:
        times: Estimated times of training steps.
        seconds: Part of the time budget that is left when training begins, in seconds.
        validation_pixels: Number of pixels of all validation images.
        is_float32: Whether the network is trained in float32.
        tuning_passes: Cost of the additional predictions for tuning; None without tuning.
    """
    left = steps_seconds(
        seconds - times.tracing,
        pixel_seconds=times.pixel,
        pixels=validation_pixels,
        is_float32=is_float32,
        tuning_passes=tuning_passes,
    )
    return int(left / times.mean)


@final
class ForecastCorrection:
    """Measure the first steps of a session, and correct the forecast of the number of steps.

    Args:
        times: Expected times of training steps; None if they are not known, so that nothing is corrected.
        budget: Time budget of the run in seconds; None if the number of steps is fixed, so that nothing is corrected.
        stopwatch: Stopwatch that measures the time of the run.
        validation_pixels: Number of pixels of all validation images.
        precision: Precision of the network in training.
        tuning_passes: Cost of the additional predictions for tuning; None without tuning.
        is_custom: Whether parts of the training are functions of the user, whose work is not counted.
    """

    def __init__(
        self,
        times: StepTimes | None,
        *,
        budget: float | None,
        stopwatch: Stopwatch,
        validation_pixels: int,
        precision: ComputePrecision,
        tuning_passes: float | None = None,
        is_custom: bool = False,
    ) -> None:
        self._times, self._budget, self._stopwatch = times, budget, stopwatch
        self._validation_pixels, self._precision = validation_pixels, precision
        self._tuning_passes, self._is_custom = tuning_passes, is_custom
        self._ended: list[float] = []

    def after_step(self, step: int, *, is_reduced: bool) -> str | None:
        """Record the end of a step, and return a message with the corrected forecast once enough steps were measured.

        If the machine is much faster or slower than expected, its stored speed is deleted, so that the speed is
        measured again for the next run, unless parts of the training are custom.

        Args:
            step: Number of steps that were taken in the run.
            is_reduced: Whether the patches of the step were smaller because of progressive resizing.
        """
        if self._times is None or self._budget is None or len(self._ended) > _LAST_MEASURED:
            return None
        self._ended.append(self._stopwatch.seconds())
        if len(self._ended) <= _LAST_MEASURED:
            return None
        measured = float(np.median(np.diff(self._ended[_FIRST_MEASURED:])))
        expected = self._times.reduced if is_reduced else self._times.full
        ratio = measured / expected
        if not (self._is_custom or 1 / _ACCEPTED_RATIO < ratio < _ACCEPTED_RATIO):
            forget_rates(self._precision)
        left = forecast_steps(
            self._times.scaled(ratio),
            seconds=self._budget - self._stopwatch.seconds(),
            validation_pixels=self._validation_pixels,
            is_float32=self._precision == "float32",
            tuning_passes=self._tuning_passes,
        )
        return f"A step takes {measured:.2f} s ({expected:.2f} s expected): about {step + left} steps in total."
