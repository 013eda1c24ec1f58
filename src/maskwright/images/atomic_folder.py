"""Replace a folder atomically: the new folder is complete or absent, and the previous folder is never lost."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4


@contextmanager
def atomic_folder(path: Path, *, is_complete: Callable[[Path], bool] = Path.exists) -> Iterator[Path]:
    """Yield a hidden, empty folder next to ``path`` that replaces ``path`` when the ``with`` block succeeds.

    All files are flushed to disk before the folder is renamed. If the block or the replacement fails, the new folder is
    removed and ``path`` is unchanged. Operating systems cannot replace one folder with another in a single step, so the
    previous folder is first renamed to ``.NAME.former``. If the process is killed before the new folder is renamed, the
    former folder remains complete, and the next `restore_former` or `atomic_folder` restores it.

    Args:
        path: Folder to write. Missing parents are created, and symbolic links are followed.
        is_complete: Function that returns whether a folder contains a complete result; see `restore_former`.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as parent:
    ...     with atomic_folder(Path(parent, "a.zarr")) as temporary:
    ...         written = (temporary / "zarr.json").write_text("{}")
    ...     [file.relative_to(parent).as_posix() for file in Path(parent).rglob("*")]
    ['a.zarr', 'a.zarr/zarr.json']
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    restore_former(path, is_complete=is_complete)
    temporary = _hidden(path)
    temporary.mkdir()
    try:
        yield temporary
        _flush(temporary)
        if path.exists():
            path.rename(_former(path))
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        restore_former(path, is_complete=is_complete)


def restore_former(path: Path, *, is_complete: Callable[[Path], bool] = Path.exists) -> None:
    """Finish or undo an interrupted replacement of the folder ``path`` by `atomic_folder`.

    The former folder is restored if ``path`` is missing or an empty folder. It is removed if ``path`` is the new
    folder, as determined by ``is_complete(path)``. It is kept if ``path`` contains anything else.
    """
    path = path.resolve()
    former = _former(path)
    if not former.exists():
        return
    if path.is_dir():
        with suppress(OSError):
            path.rmdir()  # rmdir succeeds only for an empty folder
    if not path.exists():
        former.rename(path)
    elif is_complete(path):
        discarded = _hidden(path)
        former.rename(discarded)  # an interrupted removal must not leave a partial folder to restore
        shutil.rmtree(discarded, ignore_errors=True)


def _former(path: Path) -> Path:
    return path.with_name(f".{path.name}.former")


def _hidden(path: Path) -> Path:
    return path.with_name(f".{uuid4().hex}{path.suffix}")


def _flush(folder: Path) -> None:
    """Flush every file in a folder to disk."""
    for file in (Path(parent, name) for parent, _, names in os.walk(folder) for name in names):
        with file.open("rb+") as stream:
            os.fsync(stream.fileno())
