"""Read and check a data set in a background thread while other modules are imported."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Final

from maskwright.training.prepare import CheckedData, DataCheck, ScanProgress, check_data
from maskwright.training.recipe import DataRecipe

_PROGRESS_SECONDS: Final = 0.1  # time in seconds between two calls of a progress function


class _Abandoned(Exception):
    """Raised to stop a check whose result is no longer needed."""


@contextmanager
def prefetch_check(expected: DataRecipe) -> Iterator[DataCheck]:
    """Start `check_data` of ``expected`` in a background thread, and yield a function that returns the result.

    The function returns the result once and does not store it. If the check raises an exception, the function raises it
    again. Progress is reported in the thread that calls the function. If the ``with`` block ends before the result is
    requested, the check stops after the pairs that are being read.

    Args:
        expected: Data section of the recipe whose data is checked.
    """
    latest: list[tuple[int, int]] = []
    abandoned = False

    def on_progress(done: int, total: int) -> None:
        if abandoned:
            raise _Abandoned
        latest[:] = [(done, total)]

    with ThreadPoolExecutor(1, thread_name_prefix="check") as pool:
        started: list[Future[CheckedData]] = [pool.submit(check_data, expected, progress=on_progress)]

        def check(data: DataRecipe, *, progress: ScanProgress | None = None) -> CheckedData:
            if data != expected or not started:
                return check_data(data, progress=progress)
            future, pending = started.pop(), True
            while pending:
                pending = bool(wait([future], timeout=_PROGRESS_SECONDS).not_done)
                if progress is not None and latest:
                    progress(*latest[0])
            return future.result()

        try:
            yield check
        finally:
            abandoned = True
