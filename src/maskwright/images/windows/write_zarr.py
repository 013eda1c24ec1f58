"""Write a Zarr array or an OME-Zarr group chunk by chunk."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from maskwright.images.atomic_folder import atomic_folder
from maskwright.images.disk_full import naming_full_disk
from maskwright.images.files import is_zarr
from maskwright.images.windows.georeference import PixelSize
from maskwright.images.windows.tiles import placed_tiles
from maskwright.images.windows.zarr_metadata import import_zarr


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
    fill_value: float = 0,
    attributes: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> None:
    """Write an image from its tiles, row by row from the top left, one chunk per tile.

    The result is an array (height, width), or (height, width, bands) for several bands. With ``pixel_size``, it is an
    OME-Zarr group of one resolution level (version 0.5, or 0.4 in Zarr format 2) with the bands first. The folder is
    replaced atomically.

    Args:
        path: Folder to write; an existing folder is replaced.
        tiles: Tiles of the image, row by row from the top left; see `write_tiff`.
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        bands: Number of bands of the image.
        dtype: Data type of the pixels.
        tile: Side length of a tile in pixels.
        pixel_size: Physical pixel size that is stored in OME metadata.
        zarr_format: Version of the Zarr format.
        fill_value: Value of missing pixels in the array.
        attributes: JSON attributes of the array or group.
        name: Name of the image in OME metadata, by default the name of the folder.

    Raises:
        WrongTiles: There are too few or too many tiles, or a tile has the wrong shape or data type.
        OSError: The disk is full; the error names ``path``.
        MissingPackage: zarr is not installed.
    """
    path, dtype = Path(path), np.dtype(dtype)
    axes = "yx" if bands == 1 else "cyx" if pixel_size else "yxc"
    sizes = {"y": height, "x": width, "c": bands}
    chunk = {"y": tile, "x": tile, "c": bands}
    zarr = import_zarr(path)
    given = dict(attributes or {})
    with naming_full_disk(path), atomic_folder(path, is_complete=is_zarr) as temporary:
        array_path = temporary / "0" if pixel_size else temporary
        if pixel_size:
            metadata = _ome_metadata(axes, pixel_size, name=name or path.stem, zarr_format=zarr_format)
            zarr.create_group(temporary, zarr_format=zarr_format, attributes=given | metadata)
        array = zarr.create_array(
            array_path,
            shape=[sizes[axis] for axis in axes],
            chunks=[chunk[axis] for axis in axes],
            dtype=dtype,
            zarr_format=zarr_format,
            dimension_names=list(axes) if zarr_format == 3 else None,
            chunk_key_encoding={"name": "default" if zarr_format == 3 else "v2", "separator": "/"},
            fill_value=fill_value,
            attributes=None if pixel_size else given,
        )
        for rows, columns, pixels in placed_tiles(path, tiles, shape=(height, width, bands), dtype=dtype, tile=tile):
            slices = {"y": rows, "x": columns, "c": slice(None)}
            chunk_pixels = pixels[..., 0] if bands == 1 else pixels.transpose(["yxc".index(axis) for axis in axes])
            array[tuple(slices[axis] for axis in axes)] = chunk_pixels


def _ome_metadata(axes: str, size: PixelSize, *, name: str, zarr_format: int) -> dict[str, Any]:
    """Return the attributes of the group according to version 0.5 or 0.4 of the OME-NGFF specification."""
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
