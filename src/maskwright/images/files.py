"""Find the images in a folder and expand the files, folders and globs given on a command line."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from glob import glob, has_magic
from pathlib import Path
from typing import Final

from maskwright.errors import InputError

ZARR_METADATA: Final = ("zarr.json", ".zarray", ".zgroup", ".zattrs")
IMAGE_SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff"})
_SUFFIX_LIST: Final = ", ".join(sorted(IMAGE_SUFFIXES))
_MAX_LISTED: Final = 10

WINDOWED_REMEDY: Final = "Predict arrays one at a time, with a file as the output: --out mask.tif."
"""Remedy for Zarr folders and .npy files, which can only be read window by window."""


class MissingFolder(InputError):
    """A folder that does not exist."""

    text = "{file}: not found; expected a folder of images. Check the path{hint}."


class NotAFolder(InputError):
    """A file path where a folder is expected."""

    text = "{file}: found a file; expected a folder of images, such as {parent}."


class EmptyFolder(InputError):
    """A folder without images."""

    text = "{file}: found {found}; expected images ({expected}). {remedy}"


class MissingInputs(InputError):
    """Inputs that do not exist or globs that match nothing."""

    text = "{found}: no such file or folder, and no match; expected images. Check {count}."


class SameOutput(InputError):
    """Two inputs with the same output file."""

    text = (
        "{file} and {other}: both would be written as {output}; expected one input for each output. "
        "Rename one of them, or predict them separately."
    )


def image_files(folder: str | Path) -> list[Path]:
    """Return all images in ``folder`` and its subfolders, sorted by path.

    Images are files with a suffix of ``IMAGE_SUFFIXES`` in upper or lower case. Files and folders whose names start
    with a dot are skipped.

    Raises:
        MissingFolder: The folder does not exist.
        NotAFolder: ``folder`` is a file.
        EmptyFolder: The folder contains no image; the message counts its other files by suffix.
    """
    folder = Path(folder)
    if not _exists(folder):
        existing = next((parent for parent in folder.parents if _exists(parent) and parent.is_dir()), None)
        raise MissingFolder(file=folder, hint=f"; {existing} exists" if existing else "")
    if not folder.is_dir():
        raise NotAFolder(file=folder, parent=folder.parent)
    files = [path for path in folder.rglob("*") if path.is_file() and not _is_hidden(path.relative_to(folder))]
    images = sorted(filter(_is_image, files), key=Path.as_posix)
    if not images:
        remedy = WINDOWED_REMEDY if is_zarr(folder) else "Check that this is the right folder."
        raise EmptyFolder(file=folder, found=_suffix_counts(files), expected=_SUFFIX_LIST, remedy=remedy)
    return images


def is_zarr(folder: str | Path) -> bool:
    """Return whether a folder is a Zarr array or group, as indicated by its metadata files."""
    return any(os.path.isfile(os.path.join(folder, name)) for name in ZARR_METADATA)  # noqa: PTH113, PTH118


def expand_inputs(inputs: Iterable[str | Path]) -> list[tuple[Path, Path]]:
    """Expand files, folders and globs into pairs (image file, path relative to its input), in the given order.

    The relative path, with another suffix, is the path of the result inside an output folder. For a given file, it is
    the name of the file; otherwise, it is the path relative to the given folder or to the fixed part of the glob.
    ``**`` in a glob matches any number of folders. A file that is given twice is returned once.

    Raises:
        MissingInputs: An input does not exist or matches nothing; the message lists all such inputs.
        SameOutput: Two different files have the same relative path apart from the suffix.
        EmptyFolder: A folder contains no image.
    """
    paths = [Path(given) for given in inputs]
    missing = [str(given) for given in paths if not _exists(given) and not _matches(given)]
    if missing:
        more = f" and {len(missing) - _MAX_LISTED} more" if len(missing) > _MAX_LISTED else ""
        count = "this input" if len(missing) == 1 else f"these {len(missing)} inputs"
        raise MissingInputs(found=", ".join(missing[:_MAX_LISTED]) + more, count=count)
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
    # Unlike Path.glob, glob.glob skips hidden files, and its final ** matches files.
    found = (Path(match) for match in glob(str(pattern), recursive=True))  # noqa: PTH207
    return sorted((path for path in found if _is_image(path) and path.is_file()), key=Path.as_posix)


def _fixed_part(pattern: Path) -> Path:
    return next(parent for parent in pattern.parents if not has_magic(str(parent)))


def _exists(path: Path) -> bool:
    # Unlike Path.exists, os.path.exists returns False for invalid names, such as those with a NUL character.
    return os.path.exists(path)  # noqa: PTH110


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _suffix_counts(files: Iterable[Path]) -> str:
    counts = Counter(path.suffix.lower() or "without suffix" for path in files)
    if not counts:
        return "no files"
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{suffix} ({count})" for suffix, count in ranked[:_MAX_LISTED])
    return f"{counts.total()} other files: {shown}"
