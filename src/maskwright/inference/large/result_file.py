"""Write the file of a large result tile by tile, in the format specified by its suffix."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from maskwright.errors import missing_package, wrong_argument
from maskwright.images.windows.source import Source
from maskwright.inference.large.block_store import BlockStore
from maskwright.inference.large.encoding import Encoding
from maskwright.inference.tiling.layout import Layout

_TIFF: Final = (".tif", ".tiff")
_ZARR: Final = ".zarr"


def writes_zarr(out: Path) -> bool:
    """Return whether the suffix of a result specifies a Zarr array rather than a TIFF.

    Raises:
        WrongArgument: The suffix is neither .tif, .tiff nor .zarr.
    """
    suffix = out.suffix.lower()
    if suffix not in (*_TIFF, _ZARR):
        raise wrong_argument("out", str(out), expected="a name that ends in .tif, .tiff or .zarr")
    return suffix == _ZARR


def check_packages(out: Path, polygons: Path | None) -> None:
    """Check that the packages required to write the result and the outlines are installed.

    Raises:
        MissingPackage: A required package is not installed.
    """
    if writes_zarr(out) and find_spec("zarr") is None:
        raise missing_package(str(out), "zarr", install="maskwright[zarr]")
    if polygons and find_spec("rasterio") is None:
        raise missing_package(str(polygons), "rasterio", install="maskwright[geo]")


def report_lost_georeference(out: Path, source: Source, report: Callable[[str], None]) -> None:
    """Report that the format of the result cannot store the coordinate system of the image."""
    if source.georeference and writes_zarr(out):
        report(f"{out}: Zarr cannot store the image's coordinate system; name a .tif to keep it.")


def write_result(
    path: Path, store: BlockStore, *, layout: Layout, encoding: Encoding, source: Source, name: str
) -> None:
    """Assemble a result from its blocks and clean it, with the georeference or pixel size of the image.

    ``name`` is stored as the title if the format supports titles.

    Raises:
        OSError: The disk is full; the error names ``path``.
        MissingPackage: zarr is not installed.
    """
    options: dict[str, Any] = {"bands": encoding.bands, "dtype": encoding.dtype, "tile": layout.result_tile}
    options["height"], options["width"] = layout.size
    tiles = encoding.finish(store.tiles, layout)
    if writes_zarr(path):
        from maskwright.images.windows.write_zarr import write_zarr

        options |= {"pixel_size": source.pixel_size, "fill_value": encoding.nodata, "name": name}
        write_zarr(path, tiles, **options)
    else:
        from maskwright.images.windows.write_tiff import write_tiff

        write_tiff(path, tiles, **options, georeference=source.georeference, nodata=encoding.nodata)
