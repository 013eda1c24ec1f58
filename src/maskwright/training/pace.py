"""How the time of a training is shared out: when it ends, and what validations on the way may cost."""

from typing import Final, final

from maskwright.training.schedule import ByClock, BySteps, Schedule, Stopwatch
from maskwright.training.state import State

# A run by the clock spends at most this share of it on looking at the validation images.
_VALIDATION_SHARE: Final = 0.05
# What follows the last validation: saving, loading, the page. Seconds.
_CLOSING_SECONDS: Final = 15.0
# The proof, in float32 by the saved network, against a validation in the precision of training.
_PROOF: Final = 2.0


@final
class Pace:
    """The schedule of a training, and the costs it learns of on the way.

    Args:
        stopwatch: The time.
        budget: Seconds of a run by the clock; None where the steps decide.
        steps: Of a run by steps.
        validation_work: What a validation costs before one has been measured, in the pixels of a patch whose step would
            take as long.
    """

    def __init__(self, stopwatch: Stopwatch, *, budget: float | None, steps: int, validation_work: float) -> None:
        self.budget = budget
        self.steps = steps
        self._stopwatch = stopwatch
        self._validation_work = validation_work
        self._work = 0
        self._validation_seconds: float | None = None
        self._validated_at = stopwatch.seconds()
        self._timed_from: float | None = None

    def begin(self, state: State) -> Schedule:
        """The schedule of a sitting that begins at ``state``."""
        self._timed_from, self._work = None, 0
        if self.budget is not None:
            return ByClock(self.budget, self._stopwatch, began=state.began, reserve=_CLOSING_SECONDS)
        return BySteps(self.steps, self._stopwatch, first=state.step)

    def stepped(self, schedule: Schedule, state: State, *, work: int) -> None:
        """Keep as much of the clock as the last validation, and the one through the saved network, will take.

        Args:
            schedule: Of this sitting.
            state: After the step.
            work: Pixels of one patch of it.
        """
        if self._timed_from is None:  # the first step of a sitting traces the network, and says nothing of the others
            self._timed_from = self._stopwatch.seconds()
            state.began = state.began or self._stopwatch.seconds()
        elif isinstance(schedule, ByClock):
            self._work += work
            schedule.began = state.began
            schedule.reserve = _CLOSING_SECONDS + (1 + _PROOF) * self._validation_cost()

    def validated(self, *, since: float) -> None:
        """A validation that began at ``since`` on the stopwatch has ended."""
        self._validated_at = self._stopwatch.seconds()
        self._validation_seconds = self._validated_at - since

    def validation_is_due(self, schedule: Schedule, state: State) -> bool:
        """Whether the end of an epoch is worth a validation."""
        if not isinstance(schedule, ByClock):
            return True
        since, cost = self._stopwatch.seconds() - self._validated_at, self._validation_cost()
        return cost <= _VALIDATION_SHARE * since and cost < schedule.seconds_left(state.step)

    def _validation_cost(self) -> float:
        """Seconds of a validation: the last one's, or a guess from the steps so far."""
        if self._validation_seconds is not None or self._timed_from is None or not self._work:
            return self._validation_seconds or 0.0
        return self._validation_work * (self._stopwatch.seconds() - self._timed_from) / self._work
