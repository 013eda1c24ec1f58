"""Results written tile by tile are complete, atomic and deterministic."""

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tifffile

from maskwright.images.windows.errors import WrongTiles
from maskwright.images.windows.georeference import PixelSize
from maskwright.images.windows.source import open_source
from maskwright.images.windows.write_tiff import write_tiff
from maskwright.images.windows.write_zarr import write_zarr
from tests.images.painted import noise


def cut(pixels, tile):
    for top in range(0, pixels.shape[0], tile):
        for left in range(0, pixels.shape[1], tile):
            yield pixels[top : top + tile, left : left + tile]


def write(writer, path, pixels, *, tiles=None, **options):
    height, width = pixels.shape[:2]
    bands = pixels.shape[2] if pixels.ndim == 3 else 1
    size = {"height": height, "width": width, "bands": bands, "dtype": pixels.dtype, "tile": 32}
    writer(path, tiles if tiles is not None else cut(pixels, 32), **size, **options)


KINDS = [
    noise(70, 90),
    noise(64, 96, dtype="uint16"),
    noise(70, 90, 1).astype(np.int32),
    np.random.default_rng(0).random((70, 90, 3)).astype(np.float32),
]


@pytest.mark.parametrize("pixels", KINDS, ids=lambda pixels: f"{pixels.dtype}{pixels.shape}")
def test_a_tiff_contains_its_tiles(tmp_path, pixels):
    write(write_tiff, tmp_path / "a.tif", pixels, nodata=7)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        page = tiff.pages[0]
        np.testing.assert_array_equal(page.asarray(), pixels.squeeze())
        assert page.chunks[:2] == (32, 32)
        assert page.compression.name == "ADOBE_DEFLATE"
        assert page.predictor == (3 if pixels.dtype.kind == "f" else 1)
        assert page.tags[42113].value == "7"
        assert not tiff.is_bigtiff
        assert not {"DateTime", "Software"} & {tag.name for tag in page.tags}
    with open_source(tmp_path / "a.tif") as source:
        np.testing.assert_array_equal(
            source.read(slice(0, 70 if pixels.shape[0] == 70 else 64), slice(0, 90)).squeeze(), pixels[:, :90].squeeze()
        )


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("pixel_size", [None, PixelSize(0.5, 0.25, "micrometer")], ids=["array", "ome"])
@pytest.mark.parametrize("pixels", KINDS, ids=lambda pixels: f"{pixels.dtype}{pixels.shape}")
def test_a_zarr_contains_its_tiles(tmp_path, pixels, zarr_format, pixel_size):
    zarr = pytest.importorskip("zarr")
    write(write_zarr, tmp_path / "a.zarr", pixels, zarr_format=zarr_format, pixel_size=pixel_size)
    node = zarr.open(tmp_path / "a.zarr", mode="r")
    laid = pixels.squeeze()
    if pixel_size:
        attributes = node.attrs.asdict()
        (picture,) = (
            attributes["ome" if zarr_format == 3 else "multiscales"]["multiscales"]
            if zarr_format == 3
            else attributes["multiscales"]
        )
        node = node["0"]
        laid = np.moveaxis(laid, -1, 0) if laid.ndim == 3 else laid
        assert [axis["name"] for axis in picture["axes"]] == list("cyx"[-laid.ndim :])
        assert picture["datasets"][0]["coordinateTransformations"][0]["scale"][-2:] == [0.5, 0.25]
    np.testing.assert_array_equal(node[...], laid)
    with open_source(tmp_path / "a.zarr") as source:
        assert source.pixel_size == pixel_size
        assert source.block == (32, 32)


def digest(path):
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return [(file.relative_to(path), file.read_bytes()) for file in files]


@pytest.mark.parametrize(("writer", "name"), [(write_tiff, "a.tif"), (write_zarr, "a.zarr")])
def test_the_same_tiles_give_the_same_bytes(tmp_path, writer, name):
    for folder in ("one", "two"):
        write(writer, tmp_path / folder / name, KINDS[3])
    assert digest(tmp_path / "one" / name) == digest(tmp_path / "two" / name)


@pytest.mark.parametrize(("writer", "name"), [(write_tiff, "a.tif"), (write_zarr, "a.zarr")])
def test_a_result_replaces_the_former_one_or_leaves_it_unchanged(tmp_path, writer, name):
    write(writer, tmp_path / name, KINDS[0])
    write(writer, tmp_path / name, KINDS[1])
    newest = digest(tmp_path / name)

    def breaking():
        yield KINDS[0][:32, :32]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(writer, tmp_path / name, KINDS[0], tiles=breaking())
    assert digest(tmp_path / name) == newest
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_failed_rename_leaves_the_former_zarr(tmp_path, monkeypatch):
    write(write_zarr, tmp_path / "a.zarr", KINDS[0])
    older = digest(tmp_path / "a.zarr")
    real, moves = Path.rename, []

    def rename(self, target):
        moves.append(target)
        if len(moves) == 2:
            raise PermissionError(13, "Permission denied")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(PermissionError):
        write(write_zarr, tmp_path / "a.zarr", KINDS[1])
    assert digest(tmp_path / "a.zarr") == older
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


def test_a_kill_between_two_renames_restores_the_former_zarr(tmp_path):
    write(write_zarr, tmp_path / "a.zarr", KINDS[0])
    older = digest(tmp_path / "a.zarr")
    code = """
import os, sys
from pathlib import Path
import numpy as np
from maskwright.images.windows.write_zarr import write_zarr
real, moves = Path.rename, []
def rename(self, target):
    moves.append(target)
    if len(moves) == 2:
        os._exit(9)
    return real(self, target)
Path.rename = rename
tiles = iter([np.zeros((16, 16), "uint8")])
write_zarr(sys.argv[1], tiles, height=16, width=16, bands=1, dtype="uint8", tile=16)
"""
    assert subprocess.run([sys.executable, "-c", code, tmp_path / "a.zarr"], check=False).returncode == 9
    assert not (tmp_path / "a.zarr").exists()
    assert digest(tmp_path / ".a.zarr.former") == older
    with pytest.raises(WrongTiles):
        write(write_zarr, tmp_path / "a.zarr", KINDS[1], tiles=iter([]))
    assert digest(tmp_path / "a.zarr") == older
    assert not (tmp_path / ".a.zarr.former").exists()


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("pixel_size", [None, PixelSize(0.5, 0.25)], ids=["array", "ome"])
def test_fill_value_name_and_attributes_are_written(tmp_path, zarr_format, pixel_size):
    zarr = pytest.importorskip("zarr")
    given = {"nodata": 255, "crs": {"wkt": "LOCAL"}}
    options = {"fill_value": 255, "attributes": given, "name": "scene", "pixel_size": pixel_size}
    write(write_zarr, tmp_path / "a.zarr", KINDS[0], zarr_format=zarr_format, **options)
    node = zarr.open(tmp_path / "a.zarr", mode="r")
    attributes = node.attrs.asdict()
    assert {key: attributes[key] for key in given} == given
    if pixel_size:
        (picture,) = attributes.get("ome", attributes)["multiscales"]
        assert picture["name"] == "scene"
        node = node["0"]
    assert node.fill_value == 255
    np.testing.assert_array_equal(node[...], KINDS[0])
    write(write_zarr, tmp_path / "b.zarr", KINDS[3], fill_value=float("nan"), zarr_format=zarr_format)
    assert np.isnan(zarr.open(tmp_path / "b.zarr", mode="r").fill_value)


def test_all_chunks_are_flushed_before_the_rename(tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda number: flushed.append(os.fstat(number).st_ino))
    write(write_zarr, tmp_path / "a.zarr", KINDS[0])
    files = [file for file in (tmp_path / "a.zarr").rglob("*") if file.is_file()]
    assert len(files) == 10
    assert {file.stat().st_ino for file in files} <= set(flushed)


@pytest.mark.parametrize(("writer", "name"), [(write_tiff, "a.tif"), (write_zarr, "a.zarr")])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tiles: tiles[:-1], r"found no tile for row 64, column 64; expected one for each position"),
        (lambda tiles: [*tiles, tiles[0]], r"found more tiles than positions"),
        (
            lambda tiles: [tiles[0][1:], *tiles[1:]],
            r"a tile of uint8, shape \(31, 32\), for row 0, column 0; .*\(32, 32, 1\)",
        ),
        (lambda tiles: [*tiles[:-1], tiles[-1].astype("u2")], r"a tile of uint16, shape \(6, 26\).*expected uint8"),
    ],
    ids=["too few", "too many", "shape", "type"],
)
def test_wrong_tiles_are_an_error(tmp_path, writer, name, change, message):
    with pytest.raises(WrongTiles, match=message):
        write(writer, tmp_path / name, KINDS[0], tiles=iter(change(list(cut(KINDS[0], 32)))))
    assert list(tmp_path.iterdir()) == []


def test_a_large_result_is_a_bigtiff(tmp_path):
    """66000 x 66000 pixels of one value, 4.4 GB uncompressed; writing stops early with an error."""
    tile = np.zeros((4096, 4096), np.uint8)
    size = {"height": 66000, "width": 66000, "bands": 1, "dtype": "uint8", "tile": 4096}
    seen = []
    real = tifffile.imwrite

    def short(*arguments, **options):
        seen.append(options["bigtiff"])
        raise KeyboardInterrupt

    tifffile.imwrite = short
    try:
        with pytest.raises(KeyboardInterrupt):
            write_tiff(tmp_path / "a.tif", iter([tile]), **size)
        with pytest.raises(KeyboardInterrupt):
            write_tiff(tmp_path / "a.tif", iter([tile]), **{**size, "width": 60000})
    finally:
        tifffile.imwrite = real
    assert seen == [True, False]


def test_memory_does_not_depend_on_the_size_of_the_result(tmp_path):
    tile = noise(256, 256)
    tracemalloc.start()
    try:
        size = {"height": 5120, "width": 5120, "bands": 1, "dtype": "uint8", "tile": 256}
        write_tiff(tmp_path / "a.tif", (tile for _ in range(400)), **size)
        assert tracemalloc.get_traced_memory()[1] < 5e6  # the result has 26 MB
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are POSIX's")
@pytest.mark.parametrize(("writer", "name"), [("write_tiff", "a.tif"), ("write_zarr", "a.zarr")])
def test_a_full_disk_is_an_error_that_leaves_no_file(tmp_path, writer, name):
    """Simulate a full disk by a limit on the file size."""
    code = f"""
import resource, sys
import numpy as np
from maskwright.images.windows.{writer} import {writer}
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
tile = np.random.default_rng(0).integers(0, 255, (64, 64), dtype="uint8")
try:
    {writer}(sys.argv[1], iter([tile] * 4), height=128, width=128, bands=1, dtype="uint8", tile=64)
except OSError as error:
    print(error)
"""
    output = subprocess.run(
        [sys.executable, "-c", code, tmp_path / name], capture_output=True, text=True, check=True
    ).stdout
    assert "File too large" in output
    assert repr(str(tmp_path / name)) in output
    assert list(tmp_path.iterdir()) == []
