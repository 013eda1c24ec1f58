"""Lock a run, so that only one process trains in its folder at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from maskwright.errors import InputError
from maskwright.images.file_lock import locked


class RunInUse(InputError):
    """A folder in which another process is training."""

    text = "{folder}: another training is writing this run; wait for its end, or name another folder."


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Lock ``folder``, which is made if missing, until the block or the process ends.

    On a file system without locks, the block runs unlocked.

    Raises:
        RunInUse: Another process holds the lock.
    """
    with locked(folder / ".lock", busy=RunInUse(folder=folder)):
        yield
