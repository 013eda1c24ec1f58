"""A folder written so that it is either whole or not there, and so that the one it replaces is never lost."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """As `atomic_path`, for a folder: a hidden name beside ``path`` that takes its place when the block ends well.

    No system replaces one folder by another in one step, so an older one first takes the name ``.NAME.former``. An
    interruption between the two steps leaves it there, whole, and the next call puts it back before anything else.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as place:
    ...     with atomic_folder(Path(place, "a.zarr")) as temporary:
    ...         temporary.mkdir()
    ...     [path.name for path in Path(place).iterdir()]
    ['a.zarr']
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    former = path.with_name(f".{path.name}.former")
    _recover(path, former)
    temporary = _hidden(path)
    try:
        yield temporary
        _flush(temporary)
        if path.exists():
            path.rename(former)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        _recover(path, former)


def _recover(path: Path, former: Path) -> None:
    """Put the former folder back if none has taken its name; else remove it."""
    if not former.exists():
        return
    if not path.exists():
        former.rename(path)
        return
    rest = _hidden(path)
    former.rename(rest)  # first, lest an interruption leaves a part of it to be put back
    shutil.rmtree(rest, ignore_errors=True)


def _hidden(path: Path) -> Path:
    return path.with_name(f".{uuid4().hex}{path.suffix}")


def _flush(folder: Path) -> None:
    """Have all of a folder on the disk."""
    for file in (Path(place, name) for place, _, names in os.walk(folder) for name in names):
        with file.open("rb+") as stream:
            os.fsync(stream.fileno())
