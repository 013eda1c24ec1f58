"""Reading and checking a data set while something else is loaded."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from maskwright.training.prepare import Check, Checked, ScanProgress, check_data
from maskwright.training.recipe import DataRecipe


class _Abandoned(Exception):
    """Nobody waits for the answer any more."""


@contextmanager
def checking_ahead(first: DataRecipe) -> Iterator[Check]:
    """`check_data` of ``first``, begun in a thread; what it gives, or raises, comes to whoever calls what is yielded.

    Leaving the ``with`` block ends the reading, if nobody has waited for it, after the pairs it is at.
    """
    listeners: list[ScanProgress] = []
    abandoned = False

    def tell(done: int, total: int) -> None:
        if abandoned:
            raise _Abandoned
        for listener in listeners:
            listener(done, total)

    with ThreadPoolExecutor(1, thread_name_prefix="check") as pool:
        begun = pool.submit(check_data, first, progress=tell)

        def check(data: DataRecipe, *, progress: ScanProgress | None = None) -> Checked:
            if data != first:
                return check_data(data, progress=progress)
            if progress is not None:
                listeners.append(progress)
            return begun.result()

        try:
            yield check
        finally:
            abandoned = True
