"""Zarr and OME-Zarr by window, formats 2 and 3."""

import math
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, final

import numpy as np

from maskwright.images.errors import UnsupportedPixels
from maskwright.images.files import is_zarr
from maskwright.images.samples import decoding
from maskwright.images.windows.errors import NoSuchArray, NotWindowed, WrongAxes
from maskwright.images.windows.file_source import FileSource, reading, whole_blocks
from maskwright.images.windows.georeference import PixelSize
from maskwright.images.windows.pixels import Interpreter, check_bounds, plain
from maskwright.images.windows.zarr_metadata import Node, import_zarr, read_node


def open_zarr(folder: Path) -> FileSource:
    """An array (h, w) or (h, w, c), or the largest level of the first picture of an OME-Zarr group.

    Other orders of axes are taken from the names that OME metadata, or the array itself, give them: y, x and c, and
    any others of length 1. They are never guessed.

    Raises:
        NotAnImage, NoSuchArray: no Zarr, or a group that does not say which of its arrays is the picture.
        RefusedCodec: its chunks are packed in a way that is not unpacked here.
        WrongAxes, UnsupportedPixels, ImageTooLarge: no picture, or one that cannot be.
        NotWindowed: chunks too large for memory.
        DamagedImage: the metadata cannot be read.
        MissingPackage: there is no zarr to read it with.
    """
    with decoding(folder):
        import_zarr(folder)
        from maskwright.images.windows.zarr_bounds import LARGEST_CHUNK, bounded

        array, axes, pixel_size = _picture(read_node(folder))
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
        _check_chunks(folder, array, LARGEST_CHUNK)
        interpreter = Interpreter(folder, plain, dtype=array.dtype.newbyteorder("="), channels=channels)
        block = min(chunk["y"], height), min(chunk["x"], width)
        samples = _Chunks(folder, bounded(array), axes, block, (height, width))
        return FileSource(folder, samples, interpreter, height, width, block, pixel_size=pixel_size)


@final
class _Chunks:
    """Samples of a Zarr array with the given axes, one letter each."""

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
        """Nothing stays open."""

    def _samples(self, rows: slice, columns: slice) -> np.ndarray:
        parts = {"y": rows, "x": columns, "c": slice(None)}
        samples = np.asarray(self._array[tuple(parts.get(axis, 0) for axis in self._axes)])
        kept = [axis for axis in self._axes if axis in parts]
        samples = samples.transpose([kept.index(axis) for axis in "yxc" if axis in kept])
        if "c" not in kept:
            samples = samples[..., None]
        return np.ascontiguousarray(samples, samples.dtype.newbyteorder("="))


def _parts(part: slice, length: int) -> list[slice]:
    """``part`` cut at the multiples of ``length``."""
    cuts = range((part.start // length + 1) * length, part.stop, length)
    return [slice(*ends) for ends in zip([part.start, *cuts], [*cuts, part.stop], strict=True)]


def _picture(node: Node) -> tuple[Any, list[str], PixelSize | None]:
    """(array, the letter of each of its axes, size of a pixel)."""
    folder = node.folder
    if node.is_array:
        array = node.open_array(folder)
        return array, _axes(folder, array, _names(array)), None
    multiscales = node.attributes.get("ome", node.attributes).get("multiscales")
    if not multiscales:
        arrays = sorted(place.name for place in folder.iterdir() if is_zarr(place))
        members = ", ".join(arrays) or "nothing"
        raise NoSuchArray(
            file=folder,
            found=f"a Zarr group that holds {members} and names no picture",
            expected="an array, or OME metadata",
            remedy=f"Give one of its arrays, such as {folder / next(iter(arrays), 'ARRAY')}.",
        )
    picture = multiscales[0]
    level = picture["datasets"][0]
    array = node.child(level["path"]).open_array(folder)
    described = picture.get("axes", list("tczyx"))  # all five, in this order, before OME-Zarr 0.3
    described = [{"name": axis} if isinstance(axis, str) else axis for axis in described]
    axes = _axes(folder, array, [axis["name"] for axis in described])
    scales = [_scale(part, len(axes)) for part in (picture, level)]
    sizes = {axis: math.prod(sizes) for axis, *sizes in zip(axes, *scales, strict=True)}
    unit = described[axes.index("y")].get("unit")
    return array, axes, PixelSize(sizes["y"], sizes["x"], unit)


def _scale(part: Mapping[str, Any], axes: int) -> list[float]:
    transforms = part.get("coordinateTransformations", ())
    return next((transform["scale"] for transform in transforms if transform["type"] == "scale"), [1.0] * axes)


def _names(array: Any) -> list[str] | None:
    """The names that an array gives its own axes: those of format 3, or those of xarray in format 2."""
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
            expected="axes y, x and c, and no other longer than 1",
            remedy="Save one time and one depth as an array of its own; if its axes have other names, rename them.",
        )
    return axes


def _check_chunks(folder: Path, array: Any, largest: int) -> None:
    size = math.prod(array.chunks) * array.dtype.itemsize
    if size > largest:
        raise NotWindowed(
            file=folder,
            found=f"chunks of {' x '.join(map(str, array.chunks))}, {size >> 20} MiB each",
            expected=f"chunks of at most {largest >> 20} MiB, so that it can be read by window",
            remedy="Save it again in chunks of about 1024 x 1024 pixels.",
        )
