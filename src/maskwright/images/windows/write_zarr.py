"""A Zarr array, or an OME-Zarr group, written chunk by chunk."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import numpy as np

from maskwright.images.windows.disk import writing
from maskwright.images.windows.georeference import PixelSize
from maskwright.images.windows.tiles import placed_tiles
from maskwright.images.windows.zarr import import_zarr


def write_zarr(
    path: str | Path,
    tiles: Iterator[np.ndarray],
    *,
    height: int,
    width: int,
    bands: int,
    dtype: np.dtype | str,
    tile: int,
    pixel_size: PixelSize | None = None,
    zarr_format: Literal[2, 3] = 3,
) -> None:
    """Write an image from its tiles, row by row from the top left, one chunk a tile.

    Tiles are those of `write_tiff`. The result is an array (height, width), or (height, width, bands) where there are
    several; with ``pixel_size`` an OME-Zarr group of one level (0.5, or 0.4 in Zarr format 2), whose bands come first
    as that format asks. The folder takes its name when it is whole and on the disk; one of that name goes.

    Raises:
        WrongTiles: too few, too many, or one of another shape or type.
        NotWritten: the disk is full.
        MissingPackage: there is no zarr to write it with.
    """
    path, dtype = Path(path), np.dtype(dtype)
    axes = "yx" if bands == 1 else "cyx" if pixel_size else "yxc"
    sizes = {"y": height, "x": width, "c": bands}
    chunk = {"y": tile, "x": tile, "c": bands}
    zarr = import_zarr(path)
    with writing(path), _atomic_folder(path) as temporary:
        array_path = temporary / "0" if pixel_size else temporary
        if pixel_size:
            attributes = _ome(axes, pixel_size, name=path.stem, zarr_format=zarr_format)
            zarr.create_group(temporary, zarr_format=zarr_format, attributes=attributes)
        array = zarr.create_array(
            array_path,
            shape=[sizes[axis] for axis in axes],
            chunks=[chunk[axis] for axis in axes],
            dtype=dtype,
            zarr_format=zarr_format,
            dimension_names=list(axes) if zarr_format == 3 else None,
            chunk_key_encoding={"name": "default" if zarr_format == 3 else "v2", "separator": "/"},
            fill_value=0,
        )
        for rows, columns, pixels in placed_tiles(path, tiles, shape=(height, width, bands), dtype=dtype, tile=tile):
            places = {"y": rows, "x": columns, "c": slice(None)}
            laid = pixels[..., 0] if bands == 1 else pixels.transpose(["yxc".index(axis) for axis in axes])
            array[tuple(places[axis] for axis in axes)] = laid


def _ome(axes: str, size: PixelSize, *, name: str, zarr_format: int) -> dict[str, Any]:
    """The attributes of the group, after the OME-NGFF specification 0.5 or 0.4."""
    unit = {"unit": size.unit} if size.unit else {}
    kinds = {"y": {"type": "space", **unit}, "x": {"type": "space", **unit}, "c": {"type": "channel"}}
    scale = {"y": size.height, "x": size.width, "c": 1.0}
    transform = {"type": "scale", "scale": [scale[axis] for axis in axes]}
    multiscale = {
        "name": name,
        "axes": [{"name": axis, **kinds[axis]} for axis in axes],
        "datasets": [{"path": "0", "coordinateTransformations": [transform]}],
    }
    if zarr_format == 3:
        return {"ome": {"version": "0.5", "multiscales": [multiscale]}}
    return {"multiscales": [{"version": "0.4", **multiscale}]}


@contextmanager
def _atomic_folder(path: Path) -> Iterator[Path]:
    """As `atomic_path`, for a folder: whole or not there, but for the moment in which an older one is moved away."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, old = (path.with_name(f".{uuid4().hex}{path.suffix}") for _ in range(2))
    try:
        yield temporary
        _flush(temporary)
        if path.exists():
            path.rename(old)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if old.exists() and not path.exists():
            old.rename(path)
        shutil.rmtree(old, ignore_errors=True)


def _flush(folder: Path) -> None:
    """Have all of a folder on the disk."""
    for file in (Path(place, name) for place, _, names in os.walk(folder) for name in names):
        with file.open("rb+") as stream:
            os.fsync(stream.fileno())
