"""A full disk, said in the user's words."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from maskwright.images.windows.errors import NotWritten

_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def writing(file: Path) -> Iterator[None]:
    """Turn the system's word that there is no room into an error that says what to do.

    Raises:
        NotWritten: the disk is full, a quota is spent, or the file is larger than the file system allows.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise NotWritten(
            file=file,
            found=(error.strerror or str(error)).lower(),
            remedy="Make room, or write to another disk; nothing was left behind.",
        ) from error
