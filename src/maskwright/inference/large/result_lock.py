"""A lock that allows only one process at a time to write a result."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from maskwright.errors import InputError
from maskwright.images.file_lock import locked


class BeingPredicted(InputError):
    """A result that another process is writing."""

    text = "{out}: another process is writing this result; wait until it has finished, or name another file."


@contextmanager
def result_lock(out: Path, *, report: Callable[[str], None] = lambda line: None) -> Iterator[None]:
    """Lock the result ``out`` during the ``with`` block; if the file system does not support locks, report it.

    Raises:
        BeingPredicted: Another process holds the lock.
    """

    def unsupported(reason: str) -> None:
        report(f"{out}: cannot be locked ({reason}); make sure that no other process writes it.")

    with locked(out.with_name(f".{out.name}.lock"), busy=BeingPredicted(out=out), unsupported=unsupported):
        yield
