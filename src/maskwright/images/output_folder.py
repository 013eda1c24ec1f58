"""Check that a command may write its results to a folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from maskwright.errors import InputError

_MAX_NAMES: Final = 5  # maximum number of files listed in an error message


class OutputExists(InputError):
    """An output folder that already contains results of the same kind."""

    text = "{folder}: contains {kind}; {options}, or name another folder."


class OutputNotEmpty(InputError):
    """An output path that is a file, or an output folder with files that the command did not write."""

    text = "{folder}: is not empty and does not contain {kind} (it has {found}); nothing was changed. Use a new folder."


def check_output_folder(
    folder: Path,
    *,
    kind: str,
    is_kind: Callable[[Path], bool],
    overwrite: bool,
    options: str = "add --overwrite to replace it",
) -> None:
    """Check that results may be written to ``folder``, which must be missing, empty or contain replaceable results.

    The check writes nothing and ignores hidden files.

    Args:
        folder: Output folder.
        kind: Kind of results, as named in the error message, such as ``"a run"``.
        is_kind: Function that returns whether a folder contains results of this kind.
        overwrite: Whether earlier results of this kind may be replaced.
        options: Options that the error message suggests for a folder with earlier results.

    Raises:
        OutputExists: The folder contains results of this kind, and ``overwrite`` is false.
        OutputNotEmpty: The folder is a file or contains other files, regardless of ``overwrite``.
    """
    names = visible_names(folder, kind=kind)
    if not names:
        return
    if not is_kind(folder):
        raise OutputNotEmpty(folder=folder, kind=kind, found=some_names(names))
    if not overwrite:
        raise OutputExists(folder=folder, kind=kind, options=options)


def visible_names(folder: Path, *, kind: str) -> list[str]:
    """Return the sorted names of the visible files in an output folder, or an empty list if it does not exist.

    Raises:
        OutputNotEmpty: ``folder`` is a file; the message names ``kind``.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputNotEmpty(folder=folder, kind=kind, found="a file of that name")
    return sorted(path.name for path in folder.iterdir() if path.name[0] != ".") if folder.is_dir() else []


def some_names(names: list[str]) -> str:
    """Return the first few of ``names`` as text for an error message."""
    return ", ".join(names[:_MAX_NAMES])
