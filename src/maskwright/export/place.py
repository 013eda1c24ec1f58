"""The folder an export writes to: whole, or as it was before."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from uuid import uuid4

from maskwright.errors import InputError
from maskwright.inference.exported import is_exported


class OutputHoldsAnEngine(InputError):
    """The output folder already holds an engine."""

    text = "{folder}: holds an engine; add --overwrite to replace it, or name another folder."


class OutputIsTaken(InputError):
    """The output folder holds files that no export wrote."""

    text = "{folder}: is not empty and holds no engine (it has {found}); name a new folder, this one is left alone."


def check_free(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that an export may not write to.

    Raises:
        OutputHoldsAnEngine: There is an engine, and no leave to replace it.
        OutputIsTaken: The folder holds something else, or is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputIsTaken(folder=folder, found="a file of that name")
    found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if found and not is_exported(folder):
        raise OutputIsTaken(folder=folder, found=", ".join(found[:5]))
    if found and not overwrite:
        raise OutputHoldsAnEngine(folder=folder)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """A hidden, empty folder beside ``folder`` that takes its place, and all it held, when the block ends well.

    What the block wrote is on the disk before it takes the name. If the block or the replacement fails in any way, what
    it wrote is removed and ``folder`` is as it was.
    """
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary, former = (folder.with_name(f".{uuid4().hex}") for _ in range(2))
    temporary.mkdir()
    try:
        yield temporary
        for path in temporary.rglob("*"):
            if path.is_file():
                with path.open("rb+") as written:
                    os.fsync(written.fileno())
        if folder.exists():
            folder.rename(former)
        try:
            temporary.rename(folder)
        except BaseException:
            if former.exists():
                former.rename(folder)
            raise
        rmtree(former, ignore_errors=True)
    finally:
        rmtree(temporary, ignore_errors=True)
