"""The folder an export writes to: whole, or as it was before."""

from pathlib import Path
from typing import Final

from maskwright.errors import InputError
from maskwright.images.atomic_folder import restore_former
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
    restore_former(folder, is_complete=is_exported)
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


