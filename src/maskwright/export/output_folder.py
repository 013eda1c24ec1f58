"""Checks of the folder that an export writes to."""

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
"""Files that exports write."""


class OutputHoldsAnEngine(InputError):
    """The output folder already holds an engine."""

    text = "{folder}: holds an engine. Add --overwrite to replace it, or name another folder."


class OutputIsTaken(InputError):
    """The output folder holds files that no export wrote."""

    text = "{folder}: found {found}; expected an empty or new folder, or an engine. Name another folder."


class OutputHoldsMore(InputError):
    """The output folder holds an engine and other files, which overwriting would delete."""

    text = (
        "{folder}: found other files that would be deleted, {found}; expected an engine only. "
        "Move the files, or name another folder."
    )


def check_output_folder(folder: Path, *, overwrite: bool) -> None:
    """Check that an export may write to ``folder``, after restoring what a killed export left there.

    Raises:
        OutputHoldsAnEngine: The folder holds an engine and ``overwrite`` is false.
        OutputHoldsMore: The folder holds other files than those of the engine.
        OutputIsTaken: The folder holds other files and no engine, or is a file.
    """
    restore_former(folder, is_complete=is_exported)
    if folder.exists() and not folder.is_dir():
        raise OutputIsTaken(folder=folder, found="a file")
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
