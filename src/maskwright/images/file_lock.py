"""One process at a time for one file or folder; a lock that goes with its process, however that ends."""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from maskwright.errors import InputError

_HELD: Final = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)  # the last is Windows' word for it


@contextmanager
def locked(file: Path, *, busy: InputError, without: Callable[[str], None] = lambda reason: None) -> Iterator[None]:
    """Hold ``file``, which is there for this alone and goes afterwards, while the block runs.

    Args:
        file: The lock, in a folder that is made if missing.
        busy: Raised if another process holds it.
        without: Called with the reason where the file system has no locks; nothing is held then.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder, locked(Path(folder, ".lock"), busy=InputError(message="busy")):
    ...     Path(folder, ".lock").exists()
    True
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _acquire(file, busy, without)
    try:
        yield
    finally:
        with suppress(OSError):  # Windows keeps an open file
            file.unlink()
        os.close(descriptor)


def _acquire(file: Path, busy: InputError, without: Callable[[str], None]) -> int:
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT)
        try:
            _lock(descriptor)
        except OSError as error:
            if error.errno in _HELD:
                os.close(descriptor)
                raise busy from None
            without(error.strerror or str(error))
            return descriptor
        # The process that had it removes the file: a lock on what has no name any more keeps nobody out.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), file.stat()):
                return descriptor
        os.close(descriptor)


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
