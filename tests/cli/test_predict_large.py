"""One image that may be larger than memory, as people predict it: here, on workers, damaged, and with wrong options."""

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

pytest.importorskip("openvino", reason="needs an engine to predict with")

from maskwright.segmenter import Segmenter
from tests.inference.large.boxes import noise
from tests.inference.large.machines import write_engine


@pytest.fixture
def engine(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return write_engine(tmp_path / "engine")


@pytest.fixture
def image(tmp_path):
    """Large enough for four windows."""
    pixels = noise(2600, 300)
    tifffile.imwrite(tmp_path / "image.tif", pixels, tile=(256, 256), compression="deflate", photometric="minisblack")
    return tmp_path / "image.tif"


def test_a_tiff_becomes_a_tiff_and_says_what_it_costs_and_how_good_its_seams_are(
    engine, image, maskwright_command, tmp_path
):
    code, out, err = maskwright_command("predict", engine, image, "--out", tmp_path / "mask.tif")
    assert (code, err) == (0, "")
    for said in ("Margin: ", "To go: ", "Seam: ", "mask:    "):
        assert said in out
    expected = Segmenter.load(engine).predict(image)
    assert (tifffile.imread(tmp_path / "mask.tif") == expected).all()
    assert len(np.unique(expected)) == 2
    code, out, _ = maskwright_command("predict", engine, image, "--out", tmp_path / "mask.tif")
    assert code == 0
    assert "from before" in out


def test_workers_on_this_machine_make_the_same_file(engine, image, maskwright_command, tmp_path):
    pytest.importorskip("distributed", reason="needs the extra cluster")
    for name, options in {"one": (), "two": ("--workers", "2")}.items():
        code, _, err = maskwright_command("predict", engine, image, "--out", tmp_path / f"{name}.tif", *options)
        assert (code, err) == (0, "")
    assert (tmp_path / "one.tif").read_bytes() == (tmp_path / "two.tif").read_bytes()


def test_a_damaged_tile_is_named_the_rest_is_done_and_the_command_fails(engine, image, maskwright_command, tmp_path):
    whole = tifffile.imread(image)
    with tifffile.TiffFile(image) as file:
        offset, length = file.pages[0].dataoffsets[4], file.pages[0].databytecounts[4]
    with image.open("r+b") as file:
        file.seek(offset)
        file.write(bytes(length))
    code, _, err = maskwright_command("predict", engine, image, "--out", tmp_path / "mask.tif", "--margin", "32")
    assert code == 1
    assert f"failed: {image}, rows 512-767, columns 0-255: " in err
    assert f"error: 1 parts of {image} cannot be read, and are nodata; the rest is done" in err
    mask, good = tifffile.imread(tmp_path / "mask.tif"), tmp_path / "good.tif"
    tifffile.imwrite(good, whole)
    expected = Segmenter.load(engine).predict(good)
    nodata = json.loads((tmp_path / "mask.tif.json").read_text())["nodata"]
    assert (mask[512:768, :256] == nodata).all()
    assert (mask[:500] == expected[:500]).all()
    assert (mask[780:] == expected[780:]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--out", "masks", "--workers", "2"), "--workers does not go with --out masks; expected a .tif, .tiff or"),
        (("--out", "masks", "--dask", "tcp://x:1"), "--dask does not go with --out masks"),
        (("--out", "mask.png"), "--out does not go with mask.png; expected a folder, or a .tif, .tiff or .zarr"),
        (("--out", "mask.tif", "--overlay"), "--overlay does not go with --out mask.tif; expected a folder"),
        (("again.png", "--out", "mask.tif"), "--out does not go with mask.tif and 2 images; expected one image"),
        (("--out", "mask.tif", "--workers", "2", "--dask", "x"), "--workers does not go with --dask as well"),
        (("--out", "mask.tif", "--workers", "0"), "workers=0: expected 1 or more"),
        (("--out", "mask.zarr", "--polygons", "a.geojson"), "polygons='a.geojson': expected ids in a TIFF"),
        (("--out", "mask.tif", "--margin", "-1"), "margin=-1: expected 0 to 1024 pixels"),
    ],
)
def test_what_does_not_go_together_is_one_error(options, message, engine, maskwright_command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("image.png", "again.png"):
        Image.fromarray(noise(40, 40)).save(tmp_path / name)
    code, _, err = maskwright_command("predict", engine, "image.png", *options)
    assert code == 1
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1
    assert not list(tmp_path.glob("mask*"))
