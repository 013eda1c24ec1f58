"""One process at a time: two trainings that write one run would spoil it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from maskwright.errors import InputError
from maskwright.images.file_lock import locked


class RunInUse(InputError):
    """A folder that another training is writing."""

    text = "{folder}: another training is writing this run; wait for its end, or name another folder."


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold ``folder``, made if missing, until the block ends or the process does, however it ends.

    Where the file system knows no locks, nothing is held.

    Raises:
        RunInUse: Another process holds it.
    """
    with locked(folder / ".lock", busy=RunInUse(folder=folder)):
        yield
