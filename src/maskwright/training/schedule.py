"""How far a run is, by steps or by the clock, and the learning rate that goes with it."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from maskwright.training.recipe import ProgressiveResize

MULTIPLE: Final = 32
"""Of pixels: what the sides of patches are multiples of, since encoders halve five times."""


def learning_rate(progress: float, *, peak: float, warmup: float, cycles: int = 1) -> float:
    """The rate at ``progress`` in [0, 1]: a straight rise to ``peak`` over ``warmup``, then half cosines to zero.

    Loshchilov and Hutter, "SGDR" (2017), with cycles of equal length.

    >>> [round(learning_rate(p, peak=1.0, warmup=0.2), 3) for p in (0.0, 0.1, 0.2, 0.6, 1.0)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    >>> [round(learning_rate(p, peak=1.0, warmup=0.2, cycles=2), 3) for p in (0.2, 0.4, 0.59, 0.61, 0.8, 1.0)]
    [1.0, 0.5, 0.002, 0.998, 0.5, 0.0]
    """
    if progress < warmup:
        return peak * progress / warmup
    part = _cycle(progress, warmup, cycles)
    within = 1.0 if part >= cycles else part % 1
    return peak * 0.5 * (1 + math.cos(math.pi * within))


def cycles_ended(progress: float, *, warmup: float, cycles: int) -> int:
    """How many cycles of the learning rate lie behind ``progress``.

    >>> [cycles_ended(p, warmup=0.2, cycles=2) for p in (0.0, 0.59, 0.61, 1.0)]
    [0, 0, 1, 2]
    """
    return max(0, math.floor(_cycle(progress, warmup, cycles)))


def _cycle(progress: float, warmup: float, cycles: int) -> float:
    return cycles * (progress - warmup) / (1 - warmup)


def patch_size(progress: float, *, patch: tuple[int, int], resize: ProgressiveResize | None) -> tuple[int, int]:
    """Return the patch size at ``progress`` in [0, 1]: about ``resize.scale`` of ``patch`` before ``resize.until``.

    What a network learns of small images it need not learn again of large ones, and small ones take less time: Touvron
    et al., "Fixing the train-test resolution discrepancy" (2019); Howard, in fastai's DAWNBench entry (2018).

    >>> [patch_size(progress, patch=(256, 320), resize=ProgressiveResize()) for progress in (0.0, 0.7)]
    [(160, 192), (256, 320)]
    """
    if resize is None or progress >= resize.until:
        return patch
    scale = resize.scale
    rows, columns = (_sides(side, scale) for side in patch)

    def distortion(size: tuple[int, int]) -> float:
        down, across = size[0] / patch[0], size[1] / patch[1]
        return abs(math.log(down / across)) + abs(math.log(down * across / scale**2)) / 2

    return min(((row, column) for row in rows for column in columns), key=distortion)


def _sides(side: int, scale: float) -> set[int]:
    """The multiples below and above a share of ``side``, neither less than 64 pixels nor more than it has."""
    least = min(side, 2 * MULTIPLE)
    return {max(least, MULTIPLE * round_of(side * scale / MULTIPLE)) for round_of in (math.floor, math.ceil)}


class Schedule(Protocol):
    """When a run ends."""

    def progress(self, step: int) -> float:
        """How much of the run lies behind ``step`` steps, 0 to 1; the run ends at 1."""
        ...

    def seconds_left(self, step: int) -> float | None:
        """Time until the last step, if it can be told."""
        ...


@dataclass
class Stopwatch:
    """Seconds since the command began, those of interrupted sittings included."""

    started: float
    before: float = 0.0
    now: Callable[[], float] = time.monotonic

    def seconds(self) -> float:
        """Seconds so far."""
        return self.before + self.now() - self.started


@dataclass
class BySteps:
    """A run of a fixed number of steps."""

    total: int
    stopwatch: Stopwatch
    first: int = 0

    def __post_init__(self) -> None:
        self._begun = self.stopwatch.seconds()

    def progress(self, step: int) -> float:
        """See `Schedule`."""
        return step / self.total

    def seconds_left(self, step: int) -> float | None:
        """See `Schedule`."""
        done = step - self.first
        return (self.stopwatch.seconds() - self._begun) / done * (self.total - step) if done else None


@dataclass
class ByClock:
    """A run that ends ``budget`` seconds after the command began.

    Progress counts from ``began``, when reading the data and tracing the network were done, so that neither eats into
    the schedule. ``reserve`` seconds are kept for what follows the last step, and may change as costs are measured.
    Progress never falls back.
    """

    budget: float
    stopwatch: Stopwatch
    began: float | None = None
    reserve: float = 0.0
    _furthest: float = 0.0

    def progress(self, step: int) -> float:
        """See `Schedule`."""
        del step
        if self.seconds_left(0) == 0:
            return 1.0
        if self.began is not None:
            now, end = self.stopwatch.seconds(), self.budget - self.reserve
            self._furthest = max(self._furthest, (now - self.began) / (end - self.began))
        return self._furthest

    def seconds_left(self, step: int) -> float:
        """See `Schedule`."""
        del step
        return max(0.0, self.budget - self.reserve - self.stopwatch.seconds())
