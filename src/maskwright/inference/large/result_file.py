"""The file of a large result, written tile by tile in the format of its name."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from maskwright.errors import missing_package, wrong_argument
from maskwright.images.windows import Source
from maskwright.inference.large.block_grid import Layout
from maskwright.inference.large.block_store import Parts
from maskwright.inference.large.encoding import Encoding

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


def check_packages(out: Path, polygons: Path | None) -> None:
    """See before any work that there is what results of these names are written with.

    Raises:
        MissingPackage: There is not.
    """
    if is_zarr(out) and find_spec("zarr") is None:
        raise missing_package(str(out), "zarr", install="maskwright[zarr]")
    if polygons and find_spec("rasterio") is None:
        raise missing_package(str(polygons), "rasterio", install="maskwright[geo]")


def tell_losses(out: Path, source: Source, say: Callable[[str], None]) -> None:
    """Say what of the image's place on Earth the result's format does not keep."""
    if source.georeference and is_zarr(out):
        say(f"{out}: a Zarr result has no place for the image's coordinate system; name a .tif to keep it.")


def write_result(path: Path, parts: Parts, *, layout: Layout, encoding: Encoding, source: Source, name: str) -> None:
    """Put a result together, with what its image says of where it lies and how large its pixels are.

    ``name`` is that of the picture, where the format gives it one.

    Raises:
        NotWritten: The disk is full.
        MissingPackage: There is no zarr to write it with.
    """
    kind: dict[str, Any] = {"bands": encoding.bands, "dtype": encoding.dtype, "tile": layout.tile}
    kind["height"], kind["width"] = layout.size
    if is_zarr(path):
        from maskwright.images.windows.write_zarr import write_zarr

        kind |= {"pixel_size": source.pixel_size, "fill_value": encoding.nodata, "name": name}
        write_zarr(path, parts.tiles(), **kind)
    else:
        from maskwright.images.windows.write_tiff import write_tiff

        write_tiff(path, parts.tiles(), **kind, georeference=source.georeference, nodata=encoding.nodata)
