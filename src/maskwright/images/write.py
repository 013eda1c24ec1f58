"""Write files atomically, so that a file is either complete or absent."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import numpy as np
from PIL import Image

from maskwright.errors import wrong_argument


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a hidden path next to ``path``, with the same suffix; its file replaces ``path`` if the block succeeds.

    Missing parent folders are created. The file is flushed to disk before it is renamed, so an interruption at any time
    leaves either the previous file or the new one. If the block or the replacement fails, the new file is removed and
    ``path`` is unchanged.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with atomic_path(Path(folder, "new", "a.txt")) as temporary:
    ...         written = temporary.write_text("whole")
    ...     Path(folder, "new", "a.txt").read_text()
    'whole'
    """
    path = Path(path)
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid4().hex}{path.suffix}")
    try:
        yield temporary
        written = os.open(temporary, os.O_RDWR)
        try:
            os.fsync(written)
        finally:
            os.close(written)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_mask(path: str | Path, values: np.ndarray) -> None:
    """Write a mask as a PNG that ``read_mask`` reads back unchanged.

    ``values`` are (h, w) integers from 0 to 65535 or booleans, written with 8 bits if they fit and otherwise with 16,
    or (h, w, 3) uint8 colours.

    Raises:
        WrongArgument: The shape, type or range of ``values`` is invalid, or the name does not end in .png.
    """
    path = _with_suffix(path, ".png")
    if values.ndim == 2 and values.size and values.dtype.kind in "bui":
        values = _narrowed(values)
    elif not _are_colours(values):
        raise wrong_argument("values", _described(values), expected="(h, w) integers or (h, w, 3) uint8 colours")
    import imagecodecs

    # With run-length encoding of the differences from the previous row, the files are smaller and written four times as
    # fast as with Pillow.
    png = imagecodecs.PNG
    data = imagecodecs.png_encode(
        np.ascontiguousarray(values), level=1, strategy=png.STRATEGY.RLE, filter=png.FILTER.UP
    )
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_image(path: str | Path, rgb: np.ndarray, *, effort: int = 6) -> None:
    """Write an RGB image, (h, w, 3) uint8, in the format specified by the file suffix, such as .png or .jpg.

    ``effort`` is the PNG compression level, 0 to 9.

    Raises:
        WrongArgument: The shape or type of ``rgb`` is invalid, or Pillow cannot write the format.
    """
    path = Path(path)
    if path.suffix.lower() not in Image.registered_extensions():
        raise wrong_argument("path", str(path), expected="the suffix of an image format, such as .png or .jpg")
    if not _are_colours(rgb):
        raise wrong_argument("rgb", _described(rgb), expected="(h, w, 3) uint8 colours")
    with atomic_path(path) as temporary:
        Image.fromarray(rgb).save(temporary, compress_level=effort)


def write_probabilities(path: str | Path, probabilities: np.ndarray) -> None:
    """Write class probabilities (h, w, classes) as a compressed float32 TIFF with one page for each class (axes CYX).

    tifffile reads it as (classes, h, w); Fiji opens it as a stack with a slice for each class.

    Raises:
        WrongArgument: ``probabilities`` is not a float array with three axes, or the name does not end in .tif or
            .tiff.
    """
    import tifffile

    path = _with_suffix(path, ".tif", ".tiff")
    if probabilities.ndim != 3 or not np.issubdtype(probabilities.dtype, np.floating):
        raise wrong_argument("probabilities", _described(probabilities), expected="floats of shape (h, w, classes)")
    planes = np.ascontiguousarray(np.moveaxis(probabilities, -1, 0), np.float32)
    with atomic_path(path) as temporary:
        tifffile.imwrite(temporary, planes, photometric="minisblack", compression="zlib", metadata={"axes": "CYX"})


def write_text(path: str | Path, text: str) -> None:
    r"""Write ``text`` as UTF-8 with ``\n`` line endings on every system."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | Path, data: object) -> None:
    """Write ``data`` as indented JSON, with keys in the given order; NaN and infinity are written as null."""
    write_text(path, json.dumps(_finite(data), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _finite(data: object) -> object:
    if isinstance(data, Mapping):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def _with_suffix(path: str | Path, *suffixes: str) -> Path:
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise wrong_argument("path", str(path), expected=f"a name that ends in {' or '.join(suffixes)}")
    return path


def _narrowed(values: np.ndarray) -> np.ndarray:
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise wrong_argument("values", f"{low} to {high}", expected="0 to 65535, the range of a PNG")
    return values.astype(np.uint8 if high < 256 else np.uint16)


def _are_colours(array: np.ndarray) -> bool:
    return array.ndim == 3 and array.shape[2] == 3 and array.size > 0 and array.dtype == np.uint8


def _described(array: np.ndarray) -> str:
    return f"{array.dtype} array of shape {array.shape}"
