"""Malicious Zarr arrays cannot run code, and their chunks cannot expand beyond their size."""

import json
import os
import pickle
import struct
import tracemalloc

import numcodecs
import numpy as np
import pytest

from maskwright.images.errors import DamagedImage
from maskwright.images.windows.errors import UnreadableWindow, UnsupportedCodec
from maskwright.images.windows.source import open_source
from tests.images.painted import noise

zarr = pytest.importorskip("zarr")

BOMB = bytes(2**26)
COMPRESSIONS = {
    "blosc": numcodecs.Blosc("lz4"),
    "gzip": numcodecs.GZip(1),
    "lz4": numcodecs.LZ4(),
    "zlib": numcodecs.Zlib(1),
    "zstd": numcodecs.Zstd(),
}


class Payload:
    """Unpickling this object runs a command."""

    def __init__(self, touched):
        self.touched = touched

    def __reduce__(self):
        return os.mkdir, (str(self.touched),)


def array_of_format_2(path, *, chunk=None, pixels=None, **metadata):
    path.mkdir(parents=True)
    described = {"zarr_format": 2, "shape": [64, 64], "chunks": [64, 64], "dtype": "|u1", "order": "C"}
    described |= {"fill_value": 0, "compressor": None, "filters": None, **metadata}
    (path / ".zarray").write_text(json.dumps(described))
    (path / "0.0").write_bytes(pixels.tobytes() if chunk is None else chunk)


def changed(path, change):
    metadata = json.loads((path / "zarr.json").read_text())
    change(metadata)
    (path / "zarr.json").write_text(json.dumps(metadata))


def read(path):
    with open_source(path) as source:
        return source.read(slice(0, 64), slice(0, 64))[..., 0]


@pytest.mark.parametrize("place", [{"compressor": {"id": "pickle"}}, {"filters": [{"id": "pickle"}]}], ids=str)
def test_a_pickle_codec_is_an_error_before_it_is_run(tmp_path, place):
    payload = pickle.dumps(Payload(tmp_path / "harm"))
    array_of_format_2(tmp_path / "a.zarr", chunk=payload, **place)
    with pytest.raises(
        UnsupportedCodec, match=r"a\.zarr: found the codec pickle; expected only adler32, .*save the array"
    ):
        read(tmp_path / "a.zarr")
    assert not (tmp_path / "harm").exists()
    pickle.loads(payload)  # noqa: S301
    assert (tmp_path / "harm").exists()  # it would have


def test_a_pickle_codec_in_consolidated_metadata_is_ignored(tmp_path):
    pixels = noise(64, 64)
    array_of_format_2(tmp_path / "a.zarr" / "0", pixels=pixels)
    levels = {"multiscales": [{"axes": ["y", "x"], "datasets": [{"path": "0"}]}]}
    (tmp_path / "a.zarr" / ".zgroup").write_text('{"zarr_format": 2}')
    (tmp_path / "a.zarr" / ".zattrs").write_text(json.dumps(levels))
    zarr.consolidate_metadata(tmp_path / "a.zarr", zarr_format=2)
    gathered = tmp_path / "a.zarr" / ".zmetadata"
    spoilt = gathered.read_text().replace('"compressor": null', '"compressor": {"id": "pickle"}')
    assert "pickle" in spoilt
    gathered.write_text(spoilt)
    np.testing.assert_array_equal(read(tmp_path / "a.zarr"), pixels)


@pytest.mark.parametrize(
    "change",
    [
        lambda metadata: metadata["codecs"].append({"name": "numcodecs.pickle"}),
        lambda metadata: metadata["codecs"].append("numcodecs.pickle"),
        lambda metadata: metadata["codecs"][0]["configuration"]["codecs"].append({"name": "numcodecs.pickle"}),
        lambda metadata: metadata["codecs"][0]["configuration"]["index_codecs"].append({"name": "numcodecs.pickle"}),
    ],
    ids=["outside", "by name", "in a shard", "in an index"],
)
def test_codecs_inside_shards_are_checked(tmp_path, change):
    zarr.create_array(tmp_path / "a.zarr", shape=(64, 64), chunks=(32, 32), shards=(64, 64), dtype="uint8")
    read(tmp_path / "a.zarr")
    changed(tmp_path / "a.zarr", change)
    with pytest.raises(UnsupportedCodec, match=r"found the codec numcodecs\.pickle; expected only"):
        read(tmp_path / "a.zarr")


@pytest.mark.parametrize("path", ["..", "0/../../b", "0\\..\\..\\b", "."])
def test_a_level_outside_the_folder_is_not_opened(tmp_path, path):
    multiscales = [{"axes": list("yx"), "datasets": [{"path": path}]}]
    zarr.create_group(tmp_path / "a.zarr", attributes={"ome": {"multiscales": multiscales}})
    with pytest.raises(DamagedImage, match="is not below the folder"):
        open_source(tmp_path / "a.zarr")


def test_oversized_metadata_are_an_error(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    with (tmp_path / "a.zarr" / "zarr.json").open("wb") as stream:
        stream.truncate(2**40)
    with pytest.raises(DamagedImage, match=r"zarr\.json is larger than 16 MiB"):
        open_source(tmp_path / "a.zarr")


def refuses_the_bomb(path):
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableWindow, match="rows 0 to 64, columns 0 to 64: found bytes that cannot be decoded"):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 4e6  # of 67 MB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_format_2(tmp_path, name):
    codec, pixels = COMPRESSIONS[name], noise(64, 64)
    array_of_format_2(tmp_path / "a.zarr", chunk=bytes(codec.encode(pixels)), compressor=codec.get_config())
    np.testing.assert_array_equal(read(tmp_path / "a.zarr"), pixels)
    array_of_format_2(tmp_path / "b.zarr", chunk=bytes(codec.encode(pixels)), filters=[codec.get_config()])
    np.testing.assert_array_equal(read(tmp_path / "b.zarr"), pixels)
    for folder in ("a.zarr", "b.zarr"):
        (tmp_path / folder / "0.0").write_bytes(codec.encode(BOMB))
        refuses_the_bomb(tmp_path / folder)


@pytest.mark.parametrize("name", ["blosc", "gzip", "zstd"])
@pytest.mark.parametrize("sharded", [False, True], ids=["chunk", "shard"])
def test_format_3(tmp_path, name, sharded):
    pixels, bomb = noise(64, 64), bytes(COMPRESSIONS[name].encode(BOMB))
    codec = {"blosc": zarr.codecs.BloscCodec, "gzip": zarr.codecs.GzipCodec, "zstd": zarr.codecs.ZstdCodec}[name]()
    options = {"shards": (64, 64)} if sharded else {}
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=(64, 64), chunks=(64, 64), dtype="uint8", compressors=[codec], **options
    )
    array[...] = pixels
    np.testing.assert_array_equal(read(tmp_path / "a.zarr"), pixels)
    index = bytes(numcodecs.CRC32C().encode(struct.pack("<QQ", 0, len(bomb)))) if sharded else b""
    (tmp_path / "a.zarr" / "c" / "0" / "0").write_bytes(bomb + index)
    refuses_the_bomb(tmp_path / "a.zarr")
