"""The identity of an image changes when it is written, and not when it is read."""

import os
import shutil

import numpy as np
import pytest

from maskwright.images.windows.source import identity, open_source
from tests.images.painted import noise, saved


def test_a_file(tmp_path):
    path = saved(tmp_path / "a.png", noise(4, 5))
    first = identity(path)
    open_source(path).close()
    assert identity(path) == first
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    assert identity(path) != first


def test_a_zarr(tmp_path):
    zarr = pytest.importorskip("zarr")
    array = zarr.create_array(tmp_path / "a.zarr", shape=(64, 64), chunks=(16, 16), dtype="uint8")
    array[...] = noise(64, 64)
    first = identity(tmp_path / "a.zarr")
    with open_source(tmp_path / "a.zarr") as source:
        source.read(slice(0, 64), slice(0, 64))
    assert identity(tmp_path / "a.zarr") == first
    array[20, 20] = np.uint8(array[20, 20] + 1)
    second = identity(tmp_path / "a.zarr")
    assert second != first
    array.attrs["note"] = "changed"
    third = identity(tmp_path / "a.zarr")
    assert third not in (first, second)
    metadata = tmp_path / "a.zarr" / "zarr.json"
    metadata.write_text(metadata.read_text().replace("changed", "by hand"))  # in place: no folder changes
    assert identity(tmp_path / "a.zarr") != third
    fourth = identity(tmp_path / "a.zarr")
    chunk = tmp_path / "a.zarr" / "c" / "1" / "2"
    with chunk.open("rb+") as stream:  # in place, of the same size: no folder changes
        first_byte = stream.read(1)
        stream.seek(0)
        stream.write(bytes([first_byte[0] ^ 1]))
    os.utime(chunk, ns=(0, chunk.stat().st_mtime_ns + 1))
    assert identity(tmp_path / "a.zarr") != fourth
    shutil.rmtree(tmp_path / "a.zarr")
    with pytest.raises(FileNotFoundError):
        identity(tmp_path / "a.zarr")
