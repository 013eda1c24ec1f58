"""Progress of a run, by steps or by time, and the learning rate and patch size at each progress."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from maskwright.training.recipe import ProgressiveResize

MULTIPLE: Final = 32
"""Patch sides are multiples of this many pixels, since encoders halve the resolution five times."""
_MIN_SIDE: Final = 2 * MULTIPLE  # pixels, of a smaller patch


def learning_rate(progress: float, *, peak: float, warmup: float, cycles: int = 1) -> float:
    """Return the learning rate at ``progress`` in [0, 1]: linear warm-up to ``peak``, then cosine decay to zero.

    With several cycles, the decay is repeated from the peak; all cycles have the same length (Loshchilov and Hutter,
    "SGDR: Stochastic gradient descent with warm restarts", 2017).

    >>> [round(learning_rate(p, peak=1.0, warmup=0.2), 3) for p in (0.0, 0.1, 0.2, 0.6, 1.0)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    >>> [round(learning_rate(p, peak=1.0, warmup=0.2, cycles=2), 3) for p in (0.2, 0.4, 0.59, 0.61, 0.8, 1.0)]
    [1.0, 0.5, 0.002, 0.998, 0.5, 0.0]
    """
    if progress < warmup:
        return peak * progress / warmup
    cycle = _cycle(progress, warmup, cycles)
    within = 1.0 if cycle >= cycles else cycle % 1
    return peak * 0.5 * (1 + math.cos(math.pi * within))


def cycles_ended(progress: float, *, warmup: float, cycles: int) -> int:
    """Return the number of learning-rate cycles that ended before ``progress``.

    >>> [cycles_ended(p, warmup=0.2, cycles=2) for p in (0.0, 0.59, 0.61, 1.0)]
    [0, 0, 1, 2]
    """
    return max(0, math.floor(_cycle(progress, warmup, cycles)))


def _cycle(progress: float, warmup: float, cycles: int) -> float:
    return cycles * (progress - warmup) / (1 - warmup)


def patch_size(progress: float, *, patch: tuple[int, int], resize: ProgressiveResize | None) -> tuple[int, int]:
    """Return the patch size at ``progress`` in [0, 1]: about ``resize.scale`` of ``patch`` before ``resize.until``.

    Features learned on small images transfer to large ones, and steps on small images take less time (Touvron et al.,
    "Fixing the train-test resolution discrepancy", 2019; Howard, fastai's DAWNBench entry, 2018).

    >>> [patch_size(progress, patch=(256, 320), resize=ProgressiveResize()) for progress in (0.0, 0.7)]
    [(160, 192), (256, 320)]
    """
    if resize is None or progress >= resize.until:
        return patch
    scale = resize.scale
    heights, widths = (_rounded_sides(side, scale) for side in patch)

    def distortion(size: tuple[int, int]) -> float:
        vertical, horizontal = size[0] / patch[0], size[1] / patch[1]
        return abs(math.log(vertical / horizontal)) + abs(math.log(vertical * horizontal / scale**2)) / 2

    return min(((height, width) for height in heights for width in widths), key=distortion)


def _rounded_sides(side: int, scale: float) -> set[int]:
    """Return the multiples below and above ``scale * side``, at least 64 pixels if ``side`` is."""
    smallest = min(side, _MIN_SIDE)
    return {max(smallest, MULTIPLE * rounded(side * scale / MULTIPLE)) for rounded in (math.floor, math.ceil)}


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
