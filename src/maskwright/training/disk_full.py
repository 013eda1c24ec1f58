"""A full disk: named when it must end a training, and lived with while it need not."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import final

from maskwright.images.disk_full import is_disk_full, naming_full_disk

Put = Callable[[Path, Callable[[], None]], bool]
"""Calls what writes a file, and tells whether there was room for it."""


def write_now(file: Path, write: Callable[[], None]) -> bool:
    """Call ``write``, which writes ``file``; True, for a full disk is an error that names it."""
    with naming_full_disk(file):
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
            if not is_disk_full(error):
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
