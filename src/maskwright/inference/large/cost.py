"""What a large result will take here, measured on one of its own blocks."""

import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

T = TypeVar("T")


def timed(work: Callable[[], T], *, again: bool) -> tuple[T, float]:
    """What ``work`` returns and the seconds it takes; where ``again``, those of a second call, with all compiled."""
    for _ in range(1 + again):
        started = time.perf_counter()
        result = work()
        seconds = time.perf_counter() - started
    return result, seconds


def cost_in_words(seconds: float) -> str:
    """Time left, and the memory that this process has needed so far, which a block more does not raise."""
    text = f"about {timedelta(seconds=round(seconds))}"
    peak = peak_memory()
    return text if peak is None else f"{text} and {peak / 1e9:.1f} GB of memory"


def peak_memory() -> int | None:
    """Bytes that this process has held at most, where the system tells."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
