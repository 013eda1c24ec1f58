"""Measure the progress of training by steps or by time."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Schedule(Protocol):
    """Length of a run, in steps or in time."""

    def progress(self, step: int) -> float:
        """Return the fraction of the run, in [0, 1], that is complete after ``step`` steps; the run ends at 1."""
        ...

    def seconds_left(self, step: int) -> float | None:
        """Return the time in seconds until the last step, or None if it is not known yet."""
        ...


@dataclass
class Stopwatch:
    """Measure the seconds since the command started, plus the seconds of earlier sessions of the run."""

    started: float
    earlier_sessions: float = 0.0
    now: Callable[[], float] = time.monotonic

    def seconds(self) -> float:
        """Return the total number of seconds so far."""
        return self.earlier_sessions + self.now() - self.started


@dataclass
class StepSchedule:
    """Schedule of a run with a fixed number of steps.

    Attributes:
        total: Number of steps of the run.
        stopwatch: Stopwatch that measures the time of the run.
        first: Number of steps taken before this session.
    """

    total: int
    stopwatch: Stopwatch
    first: int = 0

    def __post_init__(self) -> None:
        self._started = self.stopwatch.seconds()

    def progress(self, step: int) -> float:
        """Return the fraction of the steps, in [0, 1], that have been taken after ``step`` steps."""
        return step / self.total

    def seconds_left(self, step: int) -> float | None:
        """Return the estimated time in seconds until the last step, or None before the first step of this session."""
        done = step - self.first
        return (self.stopwatch.seconds() - self._started) / done * (self.total - step) if done else None


@dataclass
class TimeSchedule:
    """Schedule of a run with a time budget.

    Progress starts after the data has been read and the network has been traced, so that the time for neither of them
    shortens the schedule. Progress never decreases.

    Attributes:
        budget: Time budget in seconds, counted from the start of the command.
        stopwatch: Stopwatch that measures the time of the run.
        started: Time on the stopwatch at which progress starts, in seconds; None before the end of the first step.
        reserve: Seconds reserved for validation and the final check after the last step, updated as costs are measured.
    """

    budget: float
    stopwatch: Stopwatch
    started: float | None = None
    reserve: float = 0.0
    _furthest: float = 0.0

    def progress(self, step: int) -> float:
        """Return the fraction of the available time, in [0, 1], that has passed."""
        del step
        if self.seconds_left(0) == 0:
            return 1.0
        if self.started is not None:
            now, end = self.stopwatch.seconds(), self.budget - self.reserve
            self._furthest = max(self._furthest, (now - self.started) / (end - self.started))
        return self._furthest

    def seconds_left(self, step: int) -> float:
        """Return the time in seconds until the last step."""
        del step
        return max(0.0, self.budget - self.reserve - self.stopwatch.seconds())
