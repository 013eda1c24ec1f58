"""Lock the folder of a run, so that only one process trains in it at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from maskwright.errors import InputError
from maskwright.images.file_lock import is_locked, locked

_LOCK_FILE: Final = ".lock"


class RunInUse(InputError):
    """A folder in which another process is training."""

    text = "{folder}: another process is training in this folder; wait until it has finished, or name another folder."


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Lock a folder until the ``with`` block or the process ends.

    On a file system that does not support locks, the folder is not locked.

    Args:
        folder: Folder to lock. If it does not exist, it is created.

    Raises:
        RunInUse: Another process has locked the folder.
    """
    with locked(folder / _LOCK_FILE, busy=RunInUse(folder=folder)):
        yield


def check_not_in_use(folder: Path) -> None:
    """Check that no other process is training in a folder.

    Raises:
        RunInUse: Another process has locked the folder.
    """
    if is_locked(folder / _LOCK_FILE):
        raise RunInUse(folder=folder)
