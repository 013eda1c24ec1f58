"""Limit the time of tuning."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar, final

T = TypeVar("T")


@final
class TimeLimit:
    """Time that is left for tuning.

    Args:
        seconds_left: Function that returns the time left, in seconds. If absent, there is no limit.
    """

    def __init__(self, seconds_left: Callable[[], float] | None = None) -> None:
        self._seconds_left = seconds_left

    @classmethod
    def of(cls, seconds: float | None) -> "TimeLimit":
        """Return a limit of ``seconds`` seconds from now on; None for no limit."""
        if seconds is None:
            return cls()
        end = time.monotonic() + seconds
        return cls(lambda: end - time.monotonic())

    def left(self) -> float:
        """Return the time left, in seconds, which is infinite without a limit."""
        return math.inf if self._seconds_left is None else self._seconds_left()

    def allows(self, seconds: float) -> bool:
        """Return whether ``seconds`` seconds are left."""
        return seconds <= self.left()

    def take(self, items: Iterable[T], *, until: float = 0.0) -> Iterator[T]:
        """Yield items, at least one, until only ``until`` seconds are left."""
        for number, item in enumerate(items):
            if number and not self.allows(until):
                return
            yield item
