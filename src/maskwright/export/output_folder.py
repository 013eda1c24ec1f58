"""The folder an export writes to: whole, or as it was before."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from typing import Final
from uuid import uuid4

from maskwright.errors import InputError
from maskwright.inference.bundle import BUNDLE_FILE
from maskwright.inference.engines.record import ENGINE_FILE, is_exported

_WRITTEN: Final = (
    BUNDLE_FILE,
    ENGINE_FILE,
    *("model.xml", "model.bin", "model.onnx", "model.tflite"),
    *("saved_model/*.pb", "saved_model/variables/variables.*"),
)
"""What exports write, of any kind."""


class OutputHoldsAnEngine(InputError):
    """The output folder already holds an engine."""

    text = "{folder}: holds an engine; add --overwrite to replace it, or name another folder."


class OutputIsTaken(InputError):
    """The output folder holds files that no export wrote."""

    text = "{folder}: is not empty and holds no engine (it has {found}); name a new folder, this one is left alone."


class OutputHoldsMore(InputError):
    """The output folder holds an engine, and files that no export wrote beside it."""

    text = "{folder}: holds more than an engine ({found}), which would be lost; move it away, or name another folder."


def check_free(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that an export may not write to; first undo, or end, what a killed export left half done.

    Raises:
        OutputHoldsAnEngine: There is an engine, and no leave to replace it.
        OutputHoldsMore: There is an engine to replace, and other files beside it.
        OutputIsTaken: The folder holds something else, or is a file.
    """
    _recover(folder.resolve())
    if folder.exists() and not folder.is_dir():
        raise OutputIsTaken(folder=folder, found="a file of that name")
    found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if found and not is_exported(folder):
        raise OutputIsTaken(folder=folder, found=", ".join(found[:5]))
    if found and not overwrite:
        raise OutputHoldsAnEngine(folder=folder)
    written = {path for pattern in _WRITTEN for path in folder.glob(pattern)}
    others = sorted(path for path in folder.rglob("*") if path not in written and not path.is_dir())
    if others:
        shown = ", ".join(path.relative_to(folder).as_posix() for path in others[:5])
        raise OutputHoldsMore(folder=folder, found=shown)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """A hidden, empty folder beside ``folder`` that takes its place, and all it held, when the block ends well.

    What the block wrote is on the disk before it takes the name. If the block or the replacement fails in any way, what
    it wrote is removed and ``folder`` is as it was. Where the process is killed in the moment between the two names,
    the next `check_free` puts back what ``folder`` held.
    """
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary, former = folder.with_name(f".{uuid4().hex}"), _former(folder)
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


def _former(folder: Path) -> Path:
    """Where the former content of ``folder`` lies while another takes its place."""
    return folder.parent / f".{folder.name}.former"


def _recover(folder: Path) -> None:
    """Put back, or throw away, what an export that was killed had moved out of its way."""
    former = _former(folder)
    if not former.is_dir():
        return
    if is_exported(folder):  # the new one has the name already
        rmtree(former, ignore_errors=True)
        return
    with suppress(OSError):
        folder.rmdir()  # where it is empty
    if not folder.exists():
        former.rename(folder)
