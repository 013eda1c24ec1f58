"""Estimates of the time and memory that a large result requires, based on one of its blocks."""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def time_call(work: Callable[[], T], *, twice: bool) -> tuple[T, float]:
    """Return the result of ``work`` and its run time in seconds; if ``twice``, the time is that of a second call."""
    for _ in range(1 + twice):
        started = time.perf_counter()
        result = work()
        seconds = time.perf_counter() - started
    return result, seconds


def describe_cost(seconds: float, *, memory: int | None, workers: int) -> str:
    """Describe the remaining time, in seconds, and the peak memory of a worker, in bytes.

    >>> describe_cost(90, memory=1_234_567_890, workers=2)
    'about 0:01:30 and 1.2 GB of memory for each of 2 workers'
    """
    text = f"about {timedelta(seconds=round(seconds))}"
    if memory is not None:
        text += f" and {memory / 1e9:.1f} GB of memory"
    return text if workers == 1 else f"{text} for each of {workers} workers"


def peak_memory() -> int | None:
    """Return the peak memory of this process in bytes; None where the system does not report it."""
    if sys.platform == "win32":
        return None
    with suppress(OSError), Path("/proc/self/status").open() as status:
        for line in status:
            if line.startswith("VmHWM:"):  # Linux starts ru_maxrss at the value of the parent process
                return 1024 * int(line.split()[1])
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
