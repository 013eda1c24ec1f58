"""Open Zarr and OME-Zarr images in Zarr formats 2 and 3 for reading window by window."""

import math
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, final

import numpy as np

from maskwright.images.errors import ImageTooLarge, NotAnImage, UnsupportedPixels
from maskwright.images.files import is_zarr
from maskwright.images.raw_image import decoding
from maskwright.images.windows.errors import WrongAxes
from maskwright.images.windows.file_source import FileSource, reading, whole_blocks
from maskwright.images.windows.georeference import PixelSize
from maskwright.images.windows.pixels import PixelConverter, check_bounds, to_plain_raw
from maskwright.images.windows.zarr_metadata import Node, import_zarr, read_node


def open_zarr(folder: Path) -> FileSource:
    """Open an array (h, w) or (h, w, c), or the full resolution of the first image of an OME-Zarr group.

    Other orders of the axes y, x and c are determined from OME metadata or the dimension names of the array. Other axes
    must have length 1.

    Raises:
        NotAnImage: The folder is not a Zarr array or group, or it is a group without metadata that identify the image
            array.
        UnsupportedCodec: The array has a codec that is not allowed.
        WrongAxes, UnsupportedPixels: The axes or the data type are not those of an image.
        ImageTooLarge: A side or the number of channels exceeds a limit, or a chunk is too large for memory.
        DamagedImage: The metadata cannot be read.
        MissingPackage: zarr is not installed.
    """
    with decoding(folder):
        import_zarr(folder)
        from maskwright.images.windows.zarr_bounds import MAX_CHUNK_BYTES, bounded

        array, axes, pixel_size = _image_array(read_node(folder))
        if array.dtype.kind not in "biuf":
            raise UnsupportedPixels(
                file=folder,
                found=f"values of type {array.dtype}",
                expected="integers or floats",
                remedy="Convert the array.",
            )
        lengths = dict(zip(axes, array.shape, strict=True))
        height, width, channels = lengths["y"], lengths["x"], lengths.get("c", 1)
        check_bounds(folder, height=height, width=width, channels=channels)
        chunk = dict(zip(axes, array.chunks, strict=True))
        _check_chunks(folder, array, MAX_CHUNK_BYTES)
        converter = PixelConverter(folder, to_plain_raw, dtype=array.dtype.newbyteorder("="), channels=channels)
        block = min(chunk["y"], height), min(chunk["x"], width)
        samples = _ChunkReader(folder, bounded(array), axes, block, (height, width))
        return FileSource(folder, samples, converter, height, width, block, pixel_size=pixel_size)


@final
class _ChunkReader:
    """A sample reader of a Zarr array whose axes are given as one letter each."""

    def __init__(
        self, folder: Path, array: Any, axes: Sequence[str], block: tuple[int, int], size: tuple[int, int]
    ) -> None:
        self._folder, self._array, self._axes, self._block, self._size = folder, array, axes, block, size

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        try:
            return self._samples(rows, columns)
        except MemoryError:
            raise
        except Exception:
            for part in product(_parts(rows, self._block[0]), _parts(columns, self._block[1])):
                with reading(self._folder, *whole_blocks(part, self._block, self._size)):
                    self._samples(*part)
            raise

    def close(self) -> None:
        """Do nothing; Zarr arrays have no open files."""

    def _samples(self, rows: slice, columns: slice) -> np.ndarray:
        parts = {"y": rows, "x": columns, "c": slice(None)}
        samples = np.asarray(self._array[tuple(parts.get(axis, 0) for axis in self._axes)])
        remaining = [axis for axis in self._axes if axis in parts]
        samples = samples.transpose([remaining.index(axis) for axis in "yxc" if axis in remaining])
        if "c" not in remaining:
            samples = samples[..., None]
        return np.ascontiguousarray(samples, samples.dtype.newbyteorder("="))


def _parts(part: slice, length: int) -> list[slice]:
    """Split ``part`` at multiples of ``length``."""
    cuts = range((part.start // length + 1) * length, part.stop, length)
    return [slice(*ends) for ends in zip([part.start, *cuts], [*cuts, part.stop], strict=True)]


def _image_array(node: Node) -> tuple[Any, list[str], PixelSize | None]:
    """Return the image array, the letters of its axes and its pixel size."""
    folder = node.folder
    if node.is_array:
        array = node.open_array(folder)
        return array, _axes(folder, array, _names(array)), None
    multiscales = node.attributes.get("ome", node.attributes).get("multiscales")
    if not multiscales:
        arrays = sorted(path.name for path in folder.iterdir() if is_zarr(path))
        members = ", ".join(arrays) or "nothing"
        raise NotAnImage(
            file=folder,
            found=f"a Zarr group of {members} without OME metadata",
            expected="an array, or OME metadata",
            remedy=f"Use one of its arrays, such as {folder / next(iter(arrays), 'ARRAY')}.",
        )
    image = multiscales[0]
    level = image["datasets"][0]
    array = node.child(level["path"]).open_array(folder)
    metadata = image.get("axes", list("tczyx"))  # fixed axes before OME-Zarr 0.3
    metadata = [{"name": axis} if isinstance(axis, str) else axis for axis in metadata]
    axes = _axes(folder, array, [axis["name"] for axis in metadata])
    scales = [_scale(part, len(axes)) for part in (image, level)]
    sizes = {axis: math.prod(sizes) for axis, *sizes in zip(axes, *scales, strict=True)}
    unit = metadata[axes.index("y")].get("unit")
    return array, axes, PixelSize(sizes["y"], sizes["x"], unit)


def _scale(part: Mapping[str, Any], axes: int) -> list[float]:
    transforms = part.get("coordinateTransformations", ())
    return next((transform["scale"] for transform in transforms if transform["type"] == "scale"), [1.0] * axes)


def _names(array: Any) -> list[str] | None:
    """Return the dimension names of an array (in format 2, those stored by xarray), or None if it has no names."""
    names = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    return [str(name) for name in names] if names and all(names) else None


def _axes(folder: Path, array: Any, names: Sequence[str] | None) -> list[str]:
    if names is None and array.ndim in (2, 3):
        return list("yxc"[: array.ndim])
    axes = [name.lower() for name in names or ()]
    extra = [axis for axis, length in zip(axes, array.shape, strict=False) if axis not in "yxc" and length != 1]
    if len(axes) != array.ndim or len(set(axes)) < len(axes) or not {"y", "x"} <= set(axes) or extra:
        named = ", ".join(f"{name} {length}" for name, length in zip(axes, array.shape, strict=False))
        raise WrongAxes(
            file=folder,
            found=f"axes {named}" if axes else f"shape {array.shape}",
            expected="axes y, x and c, and others only of length 1",
            remedy="Save a single time and depth as an array; if the axes have other names, rename them.",
        )
    return axes


def _check_chunks(folder: Path, array: Any, max_bytes: int) -> None:
    size = math.prod(array.chunks) * array.dtype.itemsize
    if size > max_bytes:
        raise ImageTooLarge(
            file=folder,
            found=f"chunks of {' x '.join(map(str, array.chunks))}, {size >> 20} MiB each",
            expected=f"chunks of at most {max_bytes >> 20} MiB, for reading window by window",
            remedy="Save it in chunks of about 1024 x 1024 pixels.",
        )
