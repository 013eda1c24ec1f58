"""A full disk: named when it must end a training, and lived with while it need not."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, final

Put = Callable[[Path, Callable[[], None]], bool]
"""Calls what writes a file, and tells whether there was room for it."""

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def naming(file: Path) -> Iterator[None]:
    """Let an error of a full disk name ``file``: writers of archives do not, and HDF5 says it in words alone.

    >>> with naming(Path("a.npz")):
    ...     raise OSError("write failed: errno = 28, error message = 'No space left on device'")
    Traceback (most recent call last):
    OSError: [Errno 28] No space left on device: 'a.npz'
    """
    try:
        yield
    except OSError as error:
        full = error.errno in _FULL or os.strerror(errno.ENOSPC) in str(error)
        if not full:
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file)) from error


def write_now(file: Path, write: Callable[[], None]) -> bool:
    """Call ``write``, which writes ``file``; True, for a full disk is an error that names it."""
    with naming(file):
        write()
    return True


@final
class Attempt:
    """As `write_now`, for what can be written later as well: a full disk is one warning, until there is room again.

    Args:
        say: What is told of it.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._warned = False

    def __call__(self, file: Path, write: Callable[[], None]) -> bool:
        """Whether there was room for ``file``. Any other failure is raised."""
        try:
            write_now(file, write)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            if not self._warned:
                there = next(folder for folder in file.absolute().parents if folder.exists())
                free = shutil.disk_usage(there).free / 1e6
                self._say(
                    f"warning: {file} was not written, the disk has {free:,.0f} MB free; "
                    "training does without, and tries again at the next checkpoint"
                )
            self._warned = True
            return False
        self._warned = False
        return True
