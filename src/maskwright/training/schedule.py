"""Progress of a training, by steps or by time."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Schedule(Protocol):
    """Length of a run."""

    def progress(self, step: int) -> float:
        """Return the fraction of the run that is complete after ``step`` steps, 0 to 1; the run ends at 1."""
        ...

    def seconds_left(self, step: int) -> float | None:
        """Return the time until the last step; None if it is not known yet."""
        ...


@dataclass
class Stopwatch:
    """Seconds since the command started, plus those of earlier sessions of the run."""

    started: float
    earlier_sessions: float = 0.0
    now: Callable[[], float] = time.monotonic

    def seconds(self) -> float:
        """Return the seconds so far."""
        return self.earlier_sessions + self.now() - self.started


@dataclass
class StepSchedule:
    """A run of a fixed number of steps.

    ``first`` is the number of steps taken before this session.
    """

    total: int
    stopwatch: Stopwatch
    first: int = 0

    def __post_init__(self) -> None:
        self._started = self.stopwatch.seconds()

    def progress(self, step: int) -> float:
        """See `Schedule`."""
        return step / self.total

    def seconds_left(self, step: int) -> float | None:
        """See `Schedule`."""
        done = step - self.first
        return (self.stopwatch.seconds() - self._started) / done * (self.total - step) if done else None


@dataclass
class TimeSchedule:
    """A run that ends ``budget`` seconds after the command started.

    Progress counts from ``started``, the end of reading the data and tracing the network, so that neither shortens the
    schedule. ``reserve`` seconds are reserved for what follows the last step; they change as costs are measured.
    Progress never decreases.
    """

    budget: float
    stopwatch: Stopwatch
    started: float | None = None
    reserve: float = 0.0
    _furthest: float = 0.0

    def progress(self, step: int) -> float:
        """See `Schedule`."""
        del step
        if self.seconds_left(0) == 0:
            return 1.0
        if self.started is not None:
            now, end = self.stopwatch.seconds(), self.budget - self.reserve
            self._furthest = max(self._furthest, (now - self.started) / (end - self.started))
        return self._furthest

    def seconds_left(self, step: int) -> float:
        """See `Schedule`."""
        del step
        return max(0.0, self.budget - self.reserve - self.stopwatch.seconds())
