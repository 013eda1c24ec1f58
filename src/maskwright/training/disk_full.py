"""Write files during training on a disk that may be full."""

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import final

from maskwright.images.disk_full import is_disk_full, naming_full_disk

WriteFile = Callable[[Path, Callable[[], None]], bool]
"""Function that writes a file by the given function, and returns whether there was enough disk space."""


def write_or_raise(file: Path, write: Callable[[], None]) -> bool:
    """Write a file and return True; if the disk is full, raise an error that names the file.

    Args:
        file: File to write.
        write: Function that writes the file.

    Raises:
        OSError: The disk is full, or the file cannot be written.
    """
    with naming_full_disk(file):
        write()
    return True


@final
class WriteOrWarn:
    """Write files that may be skipped and written later, and report once that the disk is full.

    Args:
        report: Function called with the warning (str).
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._has_warned = False

    def __call__(self, file: Path, write: Callable[[], None]) -> bool:
        """Write a file, and return whether there was enough disk space.

        Args:
            file: File to write.
            write: Function that writes the file.

        Raises:
            OSError: The file cannot be written for another reason, such as a limit on the size of a file.
        """
        try:
            write_or_raise(file, write)
        except OSError as error:
            # A limit on the size of a file would be exceeded by a later attempt as well.
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
