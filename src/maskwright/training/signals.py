"""Ctrl-C and SIGTERM as a request that work in hand may answer when it suits."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_REQUESTS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stoppable() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether SIGINT or SIGTERM has come since.

    The first of them is noted and nothing else; from then on either does what it did before, so that a second one ends
    the process at once. A signal that is ignored stays so. In a thread beside the main one, where Python handles no
    signals, nothing changes.

    >>> with stoppable() as asked:
    ...     signal.raise_signal(signal.SIGTERM)
    ...     asked()
    True
    """
    asked = threading.Event()
    before: dict[signal.Signals, object] = {}

    def note(number: int, frame: FrameType | None) -> None:
        del number, frame
        asked.set()
        restore()

    def restore() -> None:
        while before:
            number, handler = before.popitem()
            signal.signal(number, handler)  # type: ignore[arg-type]

    if threading.current_thread() is threading.main_thread():
        for number in _REQUESTS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, note)
    try:
        yield asked.is_set
    finally:
        restore()
