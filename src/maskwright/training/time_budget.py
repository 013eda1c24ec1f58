"""Divide the time of a run between training steps, intermediate validations, the final check and tuning."""

from collections.abc import Sequence
from statistics import median
from typing import Final, final

from maskwright.data.pairs import evenly_spaced
from maskwright.errors import InputError
from maskwright.inference.pipeline import BATCH_SIZE
from maskwright.training.schedule import Schedule, StepSchedule, Stopwatch, TimeSchedule
from maskwright.training.state import State

VALIDATION_FRACTION: Final = 0.05
"""Maximum cost of a validation, as a fraction of the time since the last one."""
_ONE_VALIDATION_FRACTION: Final = 0.01  # maximum cost of an intermediate validation, as a fraction of the time budget
_MIN_VALIDATION_IMAGES: Final = 4 * BATCH_SIZE
_READING_FACTOR: Final = 1.15  # time of a validation, including reading and counting, relative to prediction alone
_FORWARD_PASS_FRACTION: Final = 0.4  # estimated time of prediction relative to a training step on as many pixels
_MIN_MEASURED_STEPS: Final = 3  # minimum number of steps for an estimate of the time of later steps
_EXPENSIVE_CHECK_FRACTION: Final = 0.2  # fraction of the time budget above which the final check is measured early
_CLOSING_SECONDS: Final = 15.0  # time for saving, loading and writing the report after the last validation
_WRITING_SECONDS: Final = 8.0  # part of this time that is needed after the final check and tuning
_MAX_TUNING_FRACTION: Final = 0.05  # maximum time reserved for tuning, as a fraction of the time budget
_TUNING_SECONDS_PER_PIXEL: Final = 1e-6  # time to try thresholds, hole filling and minimum component sizes
# Time of the final check, which is traced again in float32, relative to a validation in bfloat16 and in float32.
_CHECK_FACTOR_MIXED: Final = 2.0
_CHECK_FACTOR_FLOAT32: Final = 1.1

_MIN_INCREASE: Final = 1.25  # minimum ratio of the suggested time budget to the given one, which was too short


def final_check_seconds(validation: float, *, is_float32: bool) -> float:
    """Return the expected time of the final check in seconds, given that of a validation on all images."""
    return (_CHECK_FACTOR_FLOAT32 if is_float32 else _CHECK_FACTOR_MIXED) * validation


def steps_seconds(seconds: float, *, validation_work: float, is_float32: bool) -> float:
    """Return how much of a time budget is expected to be left for training steps, in seconds.

    Args:
        seconds: Part of the time budget that is left when training begins.
        validation_work: Time that training steps would take on as many pixels as all validation images have, in
            seconds.
        is_float32: Whether validations use float32, as the final check does.
    """
    validation = _READING_FACTOR * _FORWARD_PASS_FRACTION * validation_work
    intermediate = min(validation, _ONE_VALIDATION_FRACTION * seconds)
    closing = _CLOSING_SECONDS + intermediate + final_check_seconds(validation, is_float32=is_float32)
    return max(0.0, seconds - closing) / (1 + VALIDATION_FRACTION)


class BudgetTooShort(InputError):
    """A time budget that ends before the first step, or before the final check can be completed."""

    text = (
        "A time budget of {budget:g} s is too short: {taken:.0f} s passed before the first step, and the final check "
        "on {images} held-out images takes {check}. Give {minimum} or more; nothing of this training was saved."
    )


@final
class TimeBudget:
    """Measure the costs of a training run, and plan its schedule, validations and final check.

    Args:
        stopwatch: Stopwatch that measures the time of the run.
        budget: Time budget in seconds; None if the number of steps is fixed.
        steps: Number of steps of a run without a time budget.
        pixels: Number of pixels of each validation image after resizing and padding.
        batch_size: Number of patches in a training step.
        is_float32: Whether validations use float32, as the final check does.
        tuning_passes: Cost of the additional predictions for tuning, as a multiple of predicting all images once; None
            if the network is not tuned.
    """

    def __init__(
        self,
        stopwatch: Stopwatch,
        *,
        budget: float | None,
        steps: int,
        pixels: Sequence[int],
        batch_size: int,
        is_float32: bool,
        tuning_passes: float | None = None,
    ) -> None:
        self.budget = budget
        self.steps = steps
        self.images = len(pixels)
        self._stopwatch = stopwatch
        self._pixels = pixels
        self._validation_work = _FORWARD_PASS_FRACTION * sum(pixels) / batch_size
        self._is_float32 = is_float32
        self._tuning_passes = tuning_passes
        self._work = self._measured_steps = 0
        self._full_validation_seconds: float | None = None
        self._intermediate_seconds: float | None = None
        self._last_validation_ended = stopwatch.seconds()
        self._measured_from: float | None = None

    def start_session(self, state: State) -> Schedule:
        """Return the schedule of a session that starts with the training state ``state``."""
        self._measured_from, self._work, self._measured_steps = None, 0, 0
        # A validation is not due immediately after a run is resumed.
        self._last_validation_ended = max(self._last_validation_ended, state.seconds)
        if self.budget is not None:
            reserve = max(_CLOSING_SECONDS, state.reserved_seconds)
            return TimeSchedule(self.budget, self._stopwatch, started=state.first_step_ended, reserve=reserve)
        return StepSchedule(self.steps, self._stopwatch, first=state.step)

    def after_step(self, schedule: Schedule, state: State, *, work: int) -> None:
        """Update the time reserved for the last validation, the final check and tuning.

        Args:
            schedule: Schedule of this session.
            state: State of training after the step.
            work: Number of pixels in one patch of the step.

        Raises:
            BudgetTooShort: The final check would end after the time budget, see `check_feasible`.
        """
        if self._measured_from is None:  # the first step of a session includes tracing and is not representative
            self._measured_from = self._stopwatch.seconds()
            state.first_step_ended = state.first_step_ended or self._stopwatch.seconds()
        elif isinstance(schedule, TimeSchedule):
            self._work += work
            self._measured_steps += 1
            schedule.started = state.first_step_ended
            if self._measured_steps < _MIN_MEASURED_STEPS or self.needs_measurement(schedule):
                return
            self.check_feasible(state)
            check, tuning = self._check_cost(), self._tuning_cost(self.budget or 0.0)
            seconds = _CLOSING_SECONDS + self._intermediate_cost(state) + check + tuning
            schedule.reserve = state.reserved_seconds = seconds

    def tuning_deadline(self, state: State) -> float | None:
        """Return the time on the stopwatch, in seconds, at which tuning must end; None without a time budget.

        A session that takes no step, because an earlier session was killed after the last step, has the time that was
        reserved for the end of the run.
        """
        if self.budget is None:
            return None
        end = self.budget
        if self._measured_from is None:
            end = max(end, self._stopwatch.seconds() + max(_CLOSING_SECONDS, state.reserved_seconds))
        return end - _WRITING_SECONDS

    def check_feasible(self, state: State) -> None:
        """Check that the final check can be completed within the time budget.

        An error is raised only if training has just begun and the final check takes a large part of the time budget.

        Raises:
            BudgetTooShort: The final check would end after the time budget.
        """
        cost = self._check_cost()
        has_begun = state.step > _MIN_MEASURED_STEPS + 2 or state.nan_recoveries
        if self.budget is None or cost <= _EXPENSIVE_CHECK_FRACTION * self.budget or has_begun:
            return
        if self._stopwatch.seconds() + cost > self.budget:
            raise self.too_short(state)

    def too_short(self, state: State) -> BudgetTooShort:
        """Return the error for a time budget that leaves no time for training, with a message that suggests a
        sufficient budget."""
        cost, budget = self._check_cost(), self.budget or 0.0
        estimate = self._stopwatch.seconds() + _CLOSING_SECONDS + self._intermediate_cost(state) + cost
        minimum = max(estimate, _MIN_INCREASE * budget)  # before the first validation, the cost is only estimated
        return BudgetTooShort(
            budget=budget,
            taken=state.first_step_ended or self._stopwatch.seconds(),
            images=self.images,
            check=f"about {cost:.0f} s" if cost else "further time",
            minimum=f"{minimum:.0f} s",
        )

    def intermediate_images(self, state: State) -> int:
        """Return the number of images for intermediate validations: all images, or fewer if all would take too long.

        The number is fixed by the first validation, because scores on different sets of images cannot be compared.
        """
        if state.validation_images:
            return state.validation_images
        if self.budget is None:
            return self.images
        cost = self._full_validation_cost()
        fraction = min(1.0, _ONE_VALIDATION_FRACTION * self.budget / cost) if cost else 0.0
        return min(self.images, max(_MIN_VALIDATION_IMAGES, round(fraction * self.images)))

    def after_validation(self, *, started: float, image_seconds: Sequence[float]) -> None:
        """Record the cost of a validation that has just ended.

        Args:
            started: Start of the validation on the stopwatch, in seconds.
            image_seconds: Prediction time of each validated image, in seconds.
        """
        self._last_validation_ended = self._stopwatch.seconds()
        self._intermediate_seconds = self._full_validation_seconds = self._last_validation_ended - started
        if len(image_seconds) < self.images:  # costs that do not depend on the images are in _CLOSING_SECONDS
            pixels = evenly_spaced(self._pixels, len(image_seconds))
            # The median is used because the time of the first image of each size includes compilation.
            pixel_seconds = median(seconds / count for seconds, count in zip(image_seconds, pixels, strict=True))
            self._full_validation_seconds = _READING_FACTOR * pixel_seconds * sum(self._pixels)

    def validation_is_due(self, schedule: Schedule, state: State) -> bool:
        """Return whether the network should be validated at the end of an epoch."""
        if not isinstance(schedule, TimeSchedule):
            return True
        if self._full_validation_seconds is None and self._measured_steps < _MIN_MEASURED_STEPS:
            return False
        elapsed = self._stopwatch.seconds() - self._last_validation_ended
        cost = self._intermediate_cost(state)
        return cost <= VALIDATION_FRACTION * elapsed and cost < schedule.seconds_left(state.step)

    def needs_measurement(self, schedule: Schedule) -> bool:
        """Return whether the network should be validated before the end of the epoch to measure the cost.

        This is the case if the final check is estimated to take a large part of the time budget and no validation has
        been measured yet.
        """
        if not isinstance(schedule, TimeSchedule) or self._full_validation_seconds is not None:
            return False
        return (
            self._measured_steps >= _MIN_MEASURED_STEPS
            and self._check_cost() > _EXPENSIVE_CHECK_FRACTION * schedule.budget
        )

    def _intermediate_cost(self, state: State) -> float:
        """Return the measured cost of an intermediate validation in seconds, or an estimate before the first one."""
        if self._intermediate_seconds is None:
            return self._full_validation_cost() * self.intermediate_images(state) / max(1, self.images)
        return self._intermediate_seconds

    def _check_cost(self) -> float:
        """Return the expected cost of the final check in seconds, which is estimated from that of a validation on all
        images."""
        return final_check_seconds(self._full_validation_cost(), is_float32=self._is_float32)

    def _tuning_cost(self, budget: float) -> float:
        """Return the time in seconds that is reserved for tuning: the expected time, or less if it is too long."""
        if self._tuning_passes is None:
            return 0.0
        cost = self._tuning_passes * self._check_cost() + _TUNING_SECONDS_PER_PIXEL * sum(self._pixels)
        return min(_MAX_TUNING_FRACTION * budget, cost)

    def _full_validation_cost(self) -> float:
        """Return the cost of a validation on all images in seconds, measured or estimated from the steps so far."""
        if self._full_validation_seconds is not None or self._measured_from is None or not self._work:
            return self._full_validation_seconds or 0.0
        return self._validation_work * (self._stopwatch.seconds() - self._measured_from) / self._work
