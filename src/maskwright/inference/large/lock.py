"""One process at a time for one result; a lock that goes with its process, however that ends."""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from maskwright.errors import InputError

_HELD: Final = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)  # the last is Windows' word for it


class BeingPredicted(InputError):
    """A result that another process is making at this moment."""

    text = "{out}: another process is predicting into it; wait for that one to end, or name another file."


@contextmanager
def held(out: Path, *, say: Callable[[str], None] = lambda line: None) -> Iterator[None]:
    """Hold the right to make ``out`` while the block runs; where the file system has no locks, say so and go on.

    Raises:
        BeingPredicted: Another process holds it.
    """
    file = out.with_name(f".{out.name}.lock")
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _acquire(file, out, say)
    try:
        yield
    finally:
        with suppress(OSError):  # Windows keeps an open file
            file.unlink()
        os.close(descriptor)


def _acquire(file: Path, out: Path, say: Callable[[str], None]) -> int:
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT)
        try:
            _lock(descriptor)
        except OSError as error:
            if error.errno in _HELD:
                os.close(descriptor)
                raise BeingPredicted(out=out) from None
            say(f"{out}: cannot be locked here ({error.strerror}); see that no other process predicts into it.")
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
