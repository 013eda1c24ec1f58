"""Treat Ctrl-C and SIGTERM as requests to stop after the current step."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stoppable() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether SIGINT or SIGTERM has been received in the ``with`` block.

    The first of these signals only sets a flag and restores the previous handlers, so that a second signal terminates
    the process at once. A signal that was ignored before remains ignored. Outside the main thread, where Python cannot
    handle signals, no handler is installed.

    >>> with stoppable() as stop_requested:
    ...     signal.raise_signal(signal.SIGTERM)
    ...     stop_requested()
    True
    """
    received = threading.Event()
    previous: dict[signal.Signals, object] = {}

    def on_signal(number: int, frame: FrameType | None) -> None:
        del number, frame
        received.set()
        restore()

    def restore() -> None:
        while previous:
            number, handler = previous.popitem()
            signal.signal(number, handler)  # type: ignore[arg-type]

    if threading.current_thread() is threading.main_thread():
        for number in _STOP_SIGNALS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                previous[number] = signal.signal(number, on_signal)
    try:
        yield received.is_set
    finally:
        restore()
