"""Zarr and OME-Zarr of the zarr library are read window by window."""

import sys

import numpy as np
import pytest

from maskwright.errors import MissingPackage
from maskwright.images.errors import DamagedImage, ImageTooLarge, NotAnImage, UnsupportedPixels
from maskwright.images.windows.errors import UnreadableWindow, WrongAxes
from maskwright.images.windows.georeference import PixelSize
from maskwright.images.windows.source import open_source
from tests.images.painted import noise

zarr = pytest.importorskip("zarr")

PIXELS = noise(50, 70, 3)
PLANES = np.ascontiguousarray(np.moveaxis(PIXELS, -1, 0))
AXES = [{"name": "c", "type": "channel"}] + [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]


def create(path, array, *, chunks=(16, 32, 3), zarr_format=3, **options):
    shape = dict(zip(range(9), chunks, strict=False))
    chunks = tuple(shape.get(axis, length) for axis, length in enumerate(array.shape))
    created = zarr.create_array(
        path, shape=array.shape, chunks=chunks, dtype=array.dtype, zarr_format=zarr_format, **options
    )
    created[...] = array
    return created


def create_ome(path, array, *, zarr_format, axes=AXES, scale=(1.0, 0.5, 0.25)):
    dataset = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": list(scale)}]}
    multiscales = [{"axes": axes, "datasets": [dataset, {"path": "1"}]}]
    attributes = {"ome": {"multiscales": multiscales}} if zarr_format == 3 else {"multiscales": multiscales}
    zarr.create_group(path, zarr_format=zarr_format, attributes=attributes)
    create(path / "0", array, chunks=(1, 16, 32) if array.ndim == 3 else (1, 1, 1, 16, 32), zarr_format=zarr_format)
    create(path / "1", array[..., ::2], zarr_format=zarr_format)


def reads(path, whole):
    with open_source(path) as source:
        assert (source.height, source.width, source.channels) == whole.shape
        assert source.block == (16, 32)
        for rows, columns in (
            (slice(3, 47), slice(5, 18)),
            (slice(49, 50), slice(0, 70)),
            (slice(0, 50), slice(0, 70)),
        ):
            window = source.read(rows, columns)
            assert window.dtype == source.dtype == whole.dtype
            np.testing.assert_array_equal(window, whole[rows, columns])
        return source


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize(
    "array", [PIXELS, noise(50, 70), noise(50, 70, 2, dtype="uint16")], ids=lambda a: f"{a.dtype}{a.shape}"
)
def test_arrays(tmp_path, array, zarr_format):
    create(tmp_path / "a.zarr", array, zarr_format=zarr_format)
    reads(tmp_path / "a.zarr", array if array.ndim == 3 else array[..., None])


def test_shards_and_big_endian_values(tmp_path):
    create(tmp_path / "a.zarr", PIXELS, shards=(64, 96, 3))
    reads(tmp_path / "a.zarr", PIXELS)
    create(tmp_path / "b.zarr", noise(50, 70, dtype="uint16").astype(">u2"), zarr_format=2)
    reads(tmp_path / "b.zarr", noise(50, 70, dtype="uint16")[..., None])


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_ome_zarr_is_read_at_full_resolution_with_channels_last(tmp_path, zarr_format):
    create_ome(tmp_path / "a.zarr", PLANES, zarr_format=zarr_format)
    source = reads(tmp_path / "a.zarr", PIXELS)
    assert source.pixel_size == PixelSize(height=0.5, width=0.25, unit="micrometer")


@pytest.mark.parametrize("axes", [[{"name": name} for name in "tczyx"], list("tczyx")], ids=["0.4", "0.3"])
def test_axes_of_length_1_are_removed(tmp_path, axes):
    create_ome(tmp_path / "a.zarr", PLANES[None, :, None], zarr_format=2, axes=axes, scale=(1, 1, 1, 2, 2))
    reads(tmp_path / "a.zarr", PIXELS)


def test_other_axes_are_an_error_that_names_them(tmp_path):
    create_ome(
        tmp_path / "a.zarr", noise(2, 1, 4, 50, 70), zarr_format=3, axes=[{"name": n} for n in "tczyx"], scale=[1] * 5
    )
    with pytest.raises(
        WrongAxes, match=r"a\.zarr: found axes t 2, c 1, z 4, y 50, x 70; .*Save a single time and depth"
    ):
        open_source(tmp_path / "a.zarr")


def test_dimension_names_of_the_array_are_used(tmp_path):
    create(tmp_path / "a.zarr", PLANES, chunks=(1, 16, 32), dimension_names=["c", "y", "x"])
    reads(tmp_path / "a.zarr", PIXELS)
    create(
        tmp_path / "b.zarr",
        PLANES,
        chunks=(1, 16, 32),
        zarr_format=2,
        attributes={"_ARRAY_DIMENSIONS": ["c", "y", "x"]},
    )
    reads(tmp_path / "b.zarr", PIXELS)
    create(tmp_path / "c.zarr", PLANES, dimension_names=["time", "lat", "lon"])
    with pytest.raises(WrongAxes, match=r"found axes time 3, lat 50, lon 70; expected axes y, x and c"):
        open_source(tmp_path / "c.zarr")
    create(tmp_path / "d.zarr", noise(2, 3, 50, 70))
    with pytest.raises(WrongAxes, match=r"found shape \(2, 3, 50, 70\)"):
        open_source(tmp_path / "d.zarr")


def test_a_group_without_metadata_is_an_error_that_lists_its_arrays(tmp_path):
    zarr.create_group(tmp_path / "a.zarr")
    create(tmp_path / "a.zarr" / "red", noise(5, 5))
    create(tmp_path / "a.zarr" / "blue", noise(5, 5))
    with pytest.raises(NotAnImage, match=r"a Zarr group of blue, red without OME metadata; .*such as .*a\.zarr/blue\."):
        open_source(tmp_path / "a.zarr")
    zarr.create_group(tmp_path / "b.zarr")
    with pytest.raises(NotAnImage, match="a Zarr group of nothing"):
        open_source(tmp_path / "b.zarr")


def test_chunks_too_large_for_memory_are_an_error(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", shape=(30000, 30000), chunks=(30000, 30000), dtype="uint8")
    with pytest.raises(ImageTooLarge, match=r"chunks of 30000 x 30000, 858 MiB each; .*at most 256 MiB"):
        open_source(tmp_path / "a.zarr")


def test_rows_are_innermost_in_format_2_order_f(tmp_path):
    create(tmp_path / "a.zarr", PIXELS, zarr_format=2, order="F")
    reads(tmp_path / "a.zarr", PIXELS)


def test_a_missing_chunk_is_the_fill_value(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", shape=(50, 70), chunks=(16, 32), dtype="uint8", fill_value=9)
    with open_source(tmp_path / "a.zarr") as source:
        assert (source.read(slice(0, 50), slice(0, 70)) == 9).all()


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_corrupt_chunk_is_reported_and_the_rest_is_read(tmp_path, zarr_format):
    create(tmp_path / "a.zarr", PIXELS, zarr_format=zarr_format)
    chunk = tmp_path / "a.zarr" / ("c/1/2/0" if zarr_format == 3 else "1.2.0")
    chunk.write_bytes(chunk.read_bytes()[:10])
    with open_source(tmp_path / "a.zarr") as source:
        with pytest.raises(
            UnreadableWindow, match=r"a\.zarr: rows 16 to 32, columns 64 to 70: found bytes that cannot"
        ):
            source.read(slice(3, 47), slice(5, 69))  # a part of the chunk, which is named whole
        np.testing.assert_array_equal(source.read(slice(0, 50), slice(0, 64)), PIXELS[:, :64])


@pytest.mark.parametrize("content", [b"{", b"[]", b"", b'{"zarr_format": 3, "node_type": "array"}'])
def test_broken_metadata_are_an_error(tmp_path, content):
    create(tmp_path / "a.zarr", PIXELS)
    (tmp_path / "a.zarr" / "zarr.json").write_bytes(content)
    with pytest.raises(DamagedImage, match=r"a\.zarr: found"):
        open_source(tmp_path / "a.zarr")


def test_a_level_without_an_array_is_an_error(tmp_path):
    create(tmp_path / "other", noise(5, 5))
    multiscales = [{"axes": list("yx"), "datasets": [{"path": "../other"}]}]
    zarr.create_group(tmp_path / "a.zarr", attributes={"ome": {"multiscales": multiscales}})
    with pytest.raises(DamagedImage):
        open_source(tmp_path / "a.zarr")


def test_other_types_are_an_error(tmp_path):
    create(tmp_path / "a.zarr", np.zeros((4, 4), np.complex64))
    with pytest.raises(UnsupportedPixels, match="values of type complex64"):
        open_source(tmp_path / "a.zarr")


def test_a_missing_zarr_is_an_error(tmp_path, monkeypatch):
    create(tmp_path / "a.zarr", PIXELS)
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(MissingPackage, match=r"a\.zarr requires zarr .*pip install 'maskwright\[zarr\]'"):
        open_source(tmp_path / "a.zarr")
