"""Recognise errors caused by a full disk and add the name of the file that could not be written."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_FULL_DISK_ERRNOS: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_disk_full(error: OSError) -> bool:
    """Return whether an error was caused by a full disk, an exhausted quota or the file size limit of the file system.

    HDF5 raises such errors without an error number, so the message is examined as well.

    >>> is_disk_full(OSError(errno.EDQUOT, "Disk quota exceeded")), is_disk_full(PermissionError(13, "Denied"))
    (True, False)
    """
    return error.errno in _FULL_DISK_ERRNOS or os.strerror(errno.ENOSPC) in str(error)


@contextmanager
def naming_full_disk(file: Path) -> Iterator[None]:
    """Add the name of ``file`` to errors about a full disk, which NumPy and HDF5 raise without a file name.

    >>> with naming_full_disk(Path("a.npz")):
    ...     raise OSError("write failed: errno = 28, error message = 'No space left on device'")
    Traceback (most recent call last):
    OSError: [Errno 28] No space left on device: 'a.npz'
    """
    try:
        yield
    except OSError as error:
        if not is_disk_full(error):
            raise
        number = error.errno if error.errno in _FULL_DISK_ERRNOS else errno.ENOSPC
        raise OSError(number, os.strerror(number), str(file)) from error
