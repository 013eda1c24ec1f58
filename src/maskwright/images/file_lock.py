"""A file lock between processes, released by the operating system when the process that holds it terminates.

The filelock package is not used because it leaves the lock file behind. On a network drive that refuses locks (ENOLCK),
version 3.16 of filelock waits for a lock that no process holds, and version 4.2 raises an error.
"""

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from maskwright.errors import InputError

_HELD_ERRNOS: Final = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)  # Windows reports EACCES
_POLL_SECONDS: Final = 0.1


@contextmanager
def locked(
    file: Path, *, busy: InputError | None, unsupported: Callable[[str], None] = lambda reason: None
) -> Iterator[None]:
    """Lock ``file`` during the ``with`` block and remove it afterwards.

    Args:
        file: Path of the lock file; missing parent folders are created.
        busy: Error that is raised if another process holds the lock; if None, the call waits for that process.
        unsupported: Function called with the reason (str) if the file system does not support locks; the block then
            runs without a lock.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder, locked(Path(folder, ".lock"), busy=InputError(message="busy")):
    ...     Path(folder, ".lock").exists()
    True
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _acquire(file, busy, unsupported)
    try:
        yield
    finally:
        with suppress(OSError):  # Windows cannot remove an open file
            file.unlink()
        os.close(descriptor)


def is_locked(file: Path) -> bool:
    """Return whether a process holds the lock on ``file``, which need not exist and may be read-only.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder, locked(Path(folder, ".lock"), busy=None):
    ...     is_locked(Path(folder, ".lock")), is_locked(Path(folder, "other.lock"))
    (True, False)
    """
    try:
        descriptor = os.open(file, os.O_RDONLY)
    except OSError:
        return False
    try:
        _lock(descriptor, shared=True)
    except OSError as error:
        return error.errno in _HELD_ERRNOS
    finally:
        os.close(descriptor)
    return False


def _acquire(file: Path, busy: InputError | None, unsupported: Callable[[str], None]) -> int:
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT)
        try:
            _lock(descriptor)
        except OSError as error:
            if error.errno not in _HELD_ERRNOS:
                unsupported(error.strerror or str(error))
                return descriptor
            os.close(descriptor)
            if busy is not None:
                raise busy from None
            time.sleep(_POLL_SECONDS)
            continue
        # The previous holder may have removed the file in the meantime; a lock on a removed file does not exclude
        # others.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), file.stat()):
                return descriptor
        os.close(descriptor)


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int, *, shared: bool = False) -> None:
        del shared  # Windows has only exclusive locks
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int, *, shared: bool = False) -> None:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
