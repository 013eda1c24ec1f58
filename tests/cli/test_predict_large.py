"""The command ``predict`` with one file as the output: a large image, Dask workers, damage and unusable options."""

import json
import re

import numpy as np
import pytest
import tifffile
from PIL import Image

pytest.importorskip("openvino", reason="needs an engine to predict with")

from maskwright.segmenter import Segmenter
from tests.inference.box_engine import noise
from tests.inference.large.machines import write_engine


@pytest.fixture
def engine(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return write_engine(tmp_path / "engine")


@pytest.fixture
def image(tmp_path):
    """An image of several windows."""
    pixels = noise(2600, 800)
    tifffile.imwrite(tmp_path / "image.tif", pixels, tile=(256, 256), compression="deflate", photometric="minisblack")
    return tmp_path / "image.tif"


def test_a_tiff_is_predicted_into_a_tiff(engine, image, maskwright_command, tmp_path):
    mask = tmp_path / "mask.tif"
    code, out, err = maskwright_command("predict", engine, image, "--out", mask)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == f"mask:    {mask}"
    assert len(out.splitlines()) >= 4  # before it: margin, cost, seam
    assert re.search(r"margin\D*\d+", out, re.IGNORECASE)
    assert re.search(r"seam.*\d", out, re.IGNORECASE)
    expected = Segmenter.load(engine).predict(image)
    assert (tifffile.imread(mask) == expected).all()
    assert len(np.unique(expected)) == 2
    code, out, _ = maskwright_command("predict", engine, image, "--out", mask)
    assert code == 0
    assert out == f"mask:    {mask} (from before)\n"


def test_workers_write_the_same_file_as_one_process(engine, image, maskwright_command, tmp_path):
    pytest.importorskip("distributed", reason="needs the extra cluster")
    for name, options in {"one": (), "two": ("--workers", "2")}.items():
        code, _, err = maskwright_command("predict", engine, image, "--out", tmp_path / f"{name}.tif", *options)
        assert (code, err) == (0, "")
    assert (tmp_path / "one.tif").read_bytes() == (tmp_path / "two.tif").read_bytes()


def test_a_damaged_tile_is_named_and_the_rest_predicted(engine, image, maskwright_command, tmp_path):
    whole = tifffile.imread(image)
    with tifffile.TiffFile(image) as file:
        offset, length = file.pages[0].dataoffsets[8], file.pages[0].databytecounts[8]
    with image.open("r+b") as file:
        file.seek(offset)
        file.write(bytes(length))
    code, _, err = maskwright_command("predict", engine, image, "--out", tmp_path / "mask.tif", "--margin", "32")
    assert code == 1
    assert err.startswith(f"error: {image}, rows 512-767, columns 0-255: ")
    assert err.splitlines()[1].startswith(f"error: 1 parts of {image} ")
    assert err.count("\n") == 2
    mask, good = tifffile.imread(tmp_path / "mask.tif"), tmp_path / "good.tif"
    tifffile.imwrite(good, whole)
    expected = Segmenter.load(engine).predict(good)
    nodata = json.loads((tmp_path / "mask.tif.json").read_text())["nodata"]
    assert (mask[512:768, :256] == nodata).all()
    assert (mask[:500] == expected[:500]).all()
    assert (mask[780:] == expected[780:]).all()


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--out", "masks", "--workers", "2"), 2, "--workers cannot be combined with --out masks; expected a .tif, .t"),
        (("--out", "masks", "--dask", "tcp://x:1"), 2, "--dask cannot be combined with --out masks"),
        (("--out", "masks", "--polygons", "a.geojson"), 2, "--polygons cannot be combined with --out masks"),
        (("--out", "mask.png"), 2, "--out mask.png is the name of an image; expected a folder, or a .tif, .tiff or"),
        (("--out", "mask.tif", "--overlay"), 2, "--overlay cannot be combined with --out mask.tif; expected a folder"),
        (("second.png", "--out", "mask.tif"), 2, "--out mask.tif takes one image, and 2 were given; expected one"),
        (("--out", "mask.tif", "--workers", "2", "--dask", "x"), 2, "--workers cannot be combined with --dask"),
        (("--out", "mask.tif", "--workers", "0"), 1, "workers=0: expected 1 or more"),
        (("--out", "mask.zarr", "--polygons", "a.geojson"), 1, "polygons='a.geojson': expected ids in a TIFF"),
        (("--out", "mask.tif", "--margin", "-1"), 1, "margin=-1: expected 0 to 1024 pixels"),
    ],
)
def test_unusable_options_are_one_error(options, code, message, engine, maskwright_command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("image.png", "second.png"):
        Image.fromarray(noise(40, 40)).save(tmp_path / name)
    found, _, err = maskwright_command("predict", engine, "image.png", *options)
    assert found == code
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1
    assert not list(tmp_path.glob("mask*"))
