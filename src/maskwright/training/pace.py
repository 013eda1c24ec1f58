"""How the time of a training is shared out: when it ends, and what validations on the way may cost."""

from typing import Final, final

from maskwright.training.schedule import ByClock, BySteps, Schedule, Stopwatch
from maskwright.training.state import State

# A run by the clock spends at most this share of it on looking at the validation images.
_VALIDATION_SHARE: Final = 0.05
# What follows the last validation: saving, loading, the page. Seconds.
_CLOSING_SECONDS: Final = 15.0


@final
class Pace:
    """The schedule of a training, and the costs it learns of on the way.

    Args:
        stopwatch: The time.
        budget: Seconds of a run by the clock; None where the steps decide.
        steps: Of a run by steps.
        steps_a_validation: What a validation costs, in steps, before one has been measured.
    """

    def __init__(self, stopwatch: Stopwatch, *, budget: float | None, steps: int, steps_a_validation: float) -> None:
        self.budget = budget
        self.steps = steps
        self._stopwatch = stopwatch
        self._steps_a_validation = steps_a_validation
        self._validation_seconds: float | None = None
        self._validated_at = stopwatch.seconds()
        self._timed_from: tuple[float, int] | None = None

    def begin(self, state: State) -> Schedule:
        """The schedule of a sitting that begins at ``state``."""
        self._timed_from = None
        if self.budget is not None:
            return ByClock(self.budget, self._stopwatch, began=state.began, reserve=_CLOSING_SECONDS)
        return BySteps(self.steps, self._stopwatch, first=state.step)

    def stepped(self, schedule: Schedule, state: State) -> None:
        """Keep as much of the clock as the last validation, and the one through the saved network, will take."""
        if self._timed_from is None:  # the first step of a sitting traces the network, and says nothing of the others
            self._timed_from = self._stopwatch.seconds(), state.step
            state.began = state.began or self._stopwatch.seconds()
        elif isinstance(schedule, ByClock):
            schedule.began = state.began
            schedule.reserve = _CLOSING_SECONDS + 2 * self._validation_cost(state)

    def validated(self, *, since: float) -> None:
        """A validation that began at ``since`` on the stopwatch has ended."""
        self._validated_at = self._stopwatch.seconds()
        self._validation_seconds = self._validated_at - since

    def validation_is_due(self, schedule: Schedule, state: State) -> bool:
        """Whether the end of an epoch is worth a validation."""
        if not isinstance(schedule, ByClock):
            return True
        since, cost = self._stopwatch.seconds() - self._validated_at, self._validation_cost(state)
        return cost <= _VALIDATION_SHARE * since and cost < schedule.seconds_left(state.step)

    def _validation_cost(self, state: State) -> float:
        """Seconds of a validation: the last one's, or a guess from the steps so far."""
        if self._validation_seconds is not None or self._timed_from is None:
            return self._validation_seconds or 0.0
        seconds, step = self._timed_from
        return self._steps_a_validation * (self._stopwatch.seconds() - seconds) / max(1, state.step - step)
