"""What a large result will take here, measured on one of its own blocks."""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def timed(work: Callable[[], T], *, again: bool) -> tuple[T, float]:
    """What ``work`` returns and the seconds it takes; where ``again``, those of a second call, with all compiled."""
    for _ in range(1 + again):
        started = time.perf_counter()
        result = work()
        seconds = time.perf_counter() - started
    return result, seconds


def cost_in_words(seconds: float, *, memory: int | None, workers: int) -> str:
    """Time left, with so many workers, and what one has needed so far in bytes, which a block more does not raise.

    >>> cost_in_words(90, memory=1_234_567_890, workers=2)
    'about 0:01:30 and 1.2 GB of memory for each of 2 workers'
    """
    text = f"about {timedelta(seconds=round(seconds))}"
    if memory is not None:
        text += f" and {memory / 1e9:.1f} GB of memory"
    return text if workers == 1 else f"{text} for each of {workers} workers"


def peak_memory() -> int | None:
    """Bytes that this process has held at most, where the system tells."""
    if sys.platform == "win32":
        return None
    with suppress(OSError), Path("/proc/self/status").open() as status:
        for line in status:
            if line.startswith("VmHWM:"):  # what Linux gives as ru_maxrss begins with the parent's
                return 1024 * int(line.split()[1])
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
