"""Write files of a training on a disk that may be full."""

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import final

from maskwright.images.disk_full import is_disk_full, naming_full_disk

WriteFile = Callable[[Path, Callable[[], None]], bool]
"""Call a function that writes a file; return whether the disk had room for it."""


def write_or_raise(file: Path, write: Callable[[], None]) -> bool:
    """Call ``write``, which writes ``file``, and return True; on a full disk raise an error that names the file."""
    with naming_full_disk(file):
        write()
    return True


@final
class WriteOrWarn:
    """Write files that can also be written later: a full disk causes one warning until there is room again.

    Args:
        report: Called with the warning.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._has_warned = False

    def __call__(self, file: Path, write: Callable[[], None]) -> bool:
        """Call ``write`` and return whether the disk had room for ``file``.

        Raises:
            OSError: Another error, such as a limit on the size of a file.
        """
        try:
            write_or_raise(file, write)
        except OSError as error:
            # A later attempt exceeds a limit on the size of a file as well.
            if not is_disk_full(error) or error.errno == errno.EFBIG:
                raise
            if not self._has_warned:
                folder = next(parent for parent in file.absolute().parents if parent.exists())
                free = shutil.disk_usage(folder).free / 1e6
                self._report(
                    f"warning: {file} was not written, the disk has {free:,.0f} MB free; "
                    "training continues and tries again at the next checkpoint"
                )
            self._has_warned = True
            return False
        self._has_warned = False
        return True
