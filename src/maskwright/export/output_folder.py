"""Check the folder to which an engine is exported."""

from pathlib import Path
from typing import Final

from maskwright.images.atomic_folder import restore_former
from maskwright.images.output_folder import OutputNotEmpty, check_output_folder, some_names
from maskwright.inference.bundle import BUNDLE_FILE
from maskwright.inference.engines.record import ENGINE_FILE, is_exported

_WRITTEN: Final = (
    BUNDLE_FILE,
    ENGINE_FILE,
    *("model.xml", "model.bin", "model.onnx", "model.tflite"),
    *("saved_model/*.pb", "saved_model/variables/variables.*"),
)
"""Glob patterns of the files that are written by an export."""


class OutputHoldsOtherFiles(OutputNotEmpty):
    """An output folder with files that no export has written and that would be deleted if the folder were replaced."""

    text = "{folder}: contains {found}, which would be deleted; expected only {kind}. Move them, or name a new folder."


def check_engine_folder(folder: Path, *, overwrite: bool) -> None:
    """Check that an engine may be written to ``folder``.

    If an earlier export was killed while it replaced an engine in ``folder``, that engine is restored first.

    Raises:
        OutputExists: The folder contains an engine, and ``overwrite`` is false.
        OutputHoldsOtherFiles: The folder contains an engine and other files, including hidden files.
        OutputNotEmpty: The folder contains files but no engine, or ``folder`` is a file.
    """
    restore_former(folder, is_complete=is_exported)
    check_output_folder(folder, kind="an engine", is_kind=is_exported, overwrite=overwrite)
    written = {path for pattern in _WRITTEN for path in folder.glob(pattern)}
    others = sorted(path for path in folder.rglob("*") if path not in written and not path.is_dir())
    if others:
        names = [path.relative_to(folder).as_posix() for path in others]
        raise OutputHoldsOtherFiles(folder=folder, kind="an engine", found=some_names(names))
