"""The file of a large result, written tile by tile in the format of its name."""

from pathlib import Path
from typing import Any, Final

from maskwright.errors import wrong_argument
from maskwright.images.windows import Source
from maskwright.inference.large.blocks import Layout
from maskwright.inference.large.encoding import Encoding
from maskwright.inference.large.parts import Parts

_TIFF: Final = (".tif", ".tiff")
_ZARR: Final = ".zarr"


def is_zarr(out: Path) -> bool:
    """Whether a result of this name is a Zarr array, and not a TIFF.

    Raises:
        WrongArgument: It is neither.
    """
    suffix = out.suffix.lower()
    if suffix not in (*_TIFF, _ZARR):
        raise wrong_argument("out", str(out), expected="a name that ends in .tif, .tiff or .zarr")
    return suffix == _ZARR


def write_result(path: Path, parts: Parts, *, layout: Layout, encoding: Encoding, source: Source) -> None:
    """Put a result together, with what its image says of where it lies and how large its pixels are.

    Raises:
        NotWritten: The disk is full.
        MissingPackage: There is no zarr to write it with.
    """
    kind: dict[str, Any] = {"bands": encoding.bands, "dtype": encoding.dtype, "tile": layout.tile}
    kind["height"], kind["width"] = layout.size
    if is_zarr(path):
        from maskwright.images.windows.write_zarr import write_zarr

        write_zarr(path, parts.tiles(), **kind, pixel_size=source.pixel_size)
    else:
        from maskwright.images.windows.write_tiff import write_tiff

        write_tiff(path, parts.tiles(), **kind, georeference=source.georeference, nodata=encoding.nodata)
