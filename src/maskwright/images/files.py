"""Which files are meant: the images of a folder, and the files, folders and globs of a command line."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from glob import glob, has_magic
from pathlib import Path
from typing import Final

from maskwright.errors import InputError

ZARR_METADATA: Final = ("zarr.json", ".zarray", ".zgroup", ".zattrs")
IMAGE_SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff"})
_KNOWN: Final = ", ".join(sorted(IMAGE_SUFFIXES))
_SHOWN = 10

BY_WINDOW: Final = "Arrays are predicted one by one: name one file for the result, --out mask.tif."
"""The way out for Zarr folders and .npy files, which are read by window alone."""


class MissingFolder(InputError):
    """No folder of that name."""

    text = "{file}: found nothing of that name; expected a folder of images. Check the spelling{hint}."


class NotAFolder(InputError):
    """A file where a folder was asked for."""

    text = "{file}: found a file; expected a folder of images. Give the folder that holds it: {parent}."


class EmptyFolder(InputError):
    """A folder without a single image."""

    text = "{file}: found {found}; expected images ({expected}). {remedy}"


class MissingInputs(InputError):
    """Inputs that name nothing."""

    text = "{found}: no such file, folder or match; expected images. Check the spelling of {count}."


class SameOutput(InputError):
    """Two inputs whose results would be written to one file."""

    text = (
        "{file} and {other}: both would be written as {output}; expected one input for each output. "
        "Rename one of them, or give them in separate runs."
    )


def image_files(folder: str | Path) -> list[Path]:
    """Every image below ``folder``, subfolders included, sorted by path.

    A file is an image when its suffix is in ``IMAGE_SUFFIXES``, in capitals or not; files and folders whose names
    start with a dot are passed over.

    Raises:
        MissingFolder: there is nothing of that name.
        NotAFolder: it is a file.
        EmptyFolder: it holds no image; the message counts what it holds instead.
    """
    folder = Path(folder)
    if not _exists(folder):
        there = next((parent for parent in folder.parents if _exists(parent) and parent.is_dir()), None)
        raise MissingFolder(file=folder, hint=f"; {there} exists" if there else "")
    if not folder.is_dir():
        raise NotAFolder(file=folder, parent=folder.parent)
    files = [path for path in folder.rglob("*") if path.is_file() and not _hidden(path.relative_to(folder))]
    images = sorted(filter(_is_image, files), key=Path.as_posix)
    if not images:
        remedy = BY_WINDOW if is_zarr(folder) else "Check that this is the folder meant."
        raise EmptyFolder(file=folder, found=_kinds(files), expected=_KNOWN, remedy=remedy)
    return images


def is_zarr(folder: str | Path) -> bool:
    """Whether a folder is a Zarr array or group: no image of its own has its metadata files beside it."""
    return any(os.path.isfile(os.path.join(folder, name)) for name in ZARR_METADATA)  # noqa: PTH113, PTH118


def expand_inputs(inputs: Iterable[str | Path]) -> list[tuple[Path, Path]]:
    """Files, folders and globs as pairs (image file, path relative to the input that named it), in the order given.

    The second path, with the suffix of whatever is written, is where a result belongs below an output folder: a
    file's own name, or its path below the folder or below the fixed part of the glob. ``**`` in a glob stands for
    any number of folders. A file named twice counts once.

    Raises:
        MissingInputs: one or more inputs name nothing; the message lists them.
        SameOutput: two different files have the same relative path but for the suffix.
        EmptyFolder: a folder holds no image.
    """
    paths = [Path(given) for given in inputs]
    missing = [str(given) for given in paths if not _exists(given) and not _matches(given)]
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        count = "this input" if len(missing) == 1 else f"these {len(missing)} inputs"
        raise MissingInputs(found=", ".join(missing[:_SHOWN]) + more, count=count)
    relative_of: dict[Path, tuple[Path, Path]] = {}
    file_at: dict[Path, Path] = {}
    for file, relative in (pair for given in paths for pair in _expanded(given)):
        if file.resolve() in relative_of:
            continue
        output = relative.with_suffix("")
        if output in file_at:
            raise SameOutput(file=file_at[output], other=file, output=output)
        relative_of[file.resolve()] = file, relative
        file_at[output] = file
    return list(relative_of.values())


def _expanded(given: Path) -> Iterator[tuple[Path, Path]]:
    if not _exists(given):
        base = _fixed_part(given)
        yield from ((file, file.relative_to(base)) for file in _matches(given))
    elif given.is_dir():
        yield from ((file, file.relative_to(given)) for file in image_files(given))
    else:
        yield given, Path(given.name)


def _matches(pattern: Path) -> list[Path]:
    # Unlike Path.glob, this passes over hidden files and lets a last ** match files.
    found = (Path(match) for match in glob(str(pattern), recursive=True))  # noqa: PTH207
    return sorted((path for path in found if _is_image(path) and path.is_file()), key=Path.as_posix)


def _fixed_part(pattern: Path) -> Path:
    return next(parent for parent in pattern.parents if not has_magic(str(parent)))


def _exists(path: Path) -> bool:
    # Unlike Path.exists, this is false, and raises nothing, for names that no file can have.
    return os.path.exists(path)  # noqa: PTH110


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _kinds(files: Iterable[Path]) -> str:
    counts = Counter(path.suffix.lower() or "without a suffix" for path in files)
    if not counts:
        return "no files"
    ranked = sorted(counts.items(), key=lambda kind: (-kind[1], kind[0]))
    shown = ", ".join(f"{kind} ({count})" for kind, count in ranked[:_SHOWN])
    return f"{counts.total()} other files: {shown}"
