"""Reading and checking a data set while something else is loaded."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Final

from maskwright.training.prepare import Check, Checked, ScanProgress, check_data
from maskwright.training.recipe import DataRecipe

_TELLING: Final = 0.1  # seconds between two that are told how far it is


class _Abandoned(Exception):
    """Nobody waits for the answer any more."""


@contextmanager
def checking_ahead(first: DataRecipe) -> Iterator[Check]:
    """`check_data` of ``first``, begun in a thread; what it gives, or raises, comes to whoever calls what is yielded.

    It is given once, and not kept. Whoever waits is told of the progress in its own thread. Leaving the ``with`` block
    ends reading that nobody has waited for, after the pairs it is at.
    """
    told: list[tuple[int, int]] = []
    abandoned = False

    def tell(done: int, total: int) -> None:
        if abandoned:
            raise _Abandoned
        told[:] = [(done, total)]

    with ThreadPoolExecutor(1, thread_name_prefix="check") as pool:
        waiting: list[Future[Checked]] = [pool.submit(check_data, first, progress=tell)]

        def check(data: DataRecipe, *, progress: ScanProgress | None = None) -> Checked:
            if data != first or not waiting:
                return check_data(data, progress=progress)
            begun, pending = waiting.pop(), True
            while pending:
                pending = bool(wait([begun], timeout=_TELLING).not_done)
                if progress is not None and told:
                    progress(*told[0])
            return begun.result()

        try:
            yield check
        finally:
            abandoned = True
