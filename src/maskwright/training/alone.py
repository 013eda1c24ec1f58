"""One process at a time: two trainings that write one run would spoil it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from maskwright.errors import InputError

_LOCK_FILE = ".lock"


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
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK_FILE).open("ab") as file:
        try:
            _lock(file)
        except (BlockingIOError, PermissionError):
            raise RunInUse(folder=folder) from None
        except OSError:
            pass
        yield


def _lock(file: BinaryIO) -> None:
    """Take the file, or raise at once; closing it lets go."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
