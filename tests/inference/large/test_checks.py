"""No name costs the user a file, and jobs that cannot succeed fail before any work."""

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from maskwright.errors import MissingPackage, WrongArgument
from maskwright.images.errors import ImageTooLarge
from maskwright.inference.large import checks
from maskwright.inference.large.journal import ForeignFolder, OtherJob, UnknownResult
from maskwright.inference.large.predict_large import LargePredictionJob, predict_large
from tests.inference.box_engine import Box, noise


class Unused(Box):
    """An engine that must not be called."""

    def __call__(self, images):
        raise AssertionError("predicted before the check")


def job(image, engine=None, **changes):
    return LargePredictionJob(engine or Unused(), "weights", image, margin=32, **changes)


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def image(tmp_path):
    np.save(tmp_path / "a.npy", noise(40, 30))
    return tmp_path / "a.npy"


@pytest.fixture
def plate(tmp_path):
    """A Zarr group with two arrays."""
    zarr = pytest.importorskip("zarr")
    group = zarr.create_group(tmp_path / "plate.zarr")
    for name in "01":
        group.create_array(name, data=noise(40, 30))
    return tmp_path / "plate.zarr"


@pytest.mark.parametrize("out", ["", "0", "0/labels/mask.zarr"])
def test_a_result_around_or_inside_the_image_is_an_error(plate, out):
    before, name = contents(plate), plate / out
    if out == "0":
        name = name.rename(plate / "0.zarr")
        before = contents(plate)
    image = name if out == "0" else plate / "0"
    with pytest.raises(WrongArgument, match="expected another file than the image, neither inside it nor around it"):
        predict_large(job(image), name, overwrite=True)
    assert contents(plate) == before


def test_a_foreign_folder_is_kept_even_with_overwrite(image, plate):
    before = contents(plate)
    for overwrite in (False, True):
        with pytest.raises(ForeignFolder, match=r"plate\.zarr: is a folder"):
            predict_large(job(image), plate, overwrite=overwrite)
    assert contents(plate) == before


def test_a_zarr_result_is_replaced_unless_it_holds_other_files(tmp_path, image):
    zarr = pytest.importorskip("zarr")
    out = tmp_path / "mask.zarr"
    predict_large(job(image, Box()), out)
    predict_large(job(image, Box(), output="probabilities"), out, overwrite=True)
    assert zarr.open_array(out, mode="r").dtype == np.float32
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npy", "mask.zarr", "mask.zarr.json"]
    (out / "notes.txt").write_text("mine")
    with pytest.raises(ForeignFolder):
        predict_large(job(image), out, overwrite=True)


def test_a_folder_with_the_name_of_a_tiff_is_an_error(tmp_path, image):
    (tmp_path / "mask.tif").mkdir()
    with pytest.raises(ForeignFolder, match=r"mask\.tif: is a folder"):
        predict_large(job(image), tmp_path / "mask.tif", overwrite=True)


@pytest.mark.parametrize("name", ["a.npy", "mask.tif", "mask.tif.json", "mask.tif.parts/p.geojson"])
def test_outlines_never_replace_the_image_or_the_result(tmp_path, image, name):
    outlines = tmp_path / name
    with pytest.raises(WrongArgument, match="expected another file than the image and the result"):
        predict_large(job(image, polygons=outlines), tmp_path / "mask.tif", overwrite=True)


def test_other_outlines_are_kept(tmp_path, image):
    pytest.importorskip("rasterio")
    outlines, out = tmp_path / "p.geojson", tmp_path / "mask.tif"
    predict_large(job(image, Box()), out)
    outlines.write_text("mine")
    with pytest.raises(UnknownResult, match=r"p\.geojson: .*--overwrite"):
        predict_large(job(image, polygons=outlines), out)
    assert outlines.read_text() == "mine"
    predict_large(job(image, Box(), polygons=outlines), out, overwrite=True)
    assert json.loads(outlines.read_text())["type"] == "FeatureCollection"
    assert predict_large(job(image, polygons=outlines), out).already_done
    outlines.rename(tmp_path / "q.geojson")
    outlines.mkdir()
    with pytest.raises(ForeignFolder, match=r"p\.geojson: is a folder"):
        predict_large(job(image, polygons=outlines), out, overwrite=True)


def test_a_changed_result_is_not_taken_for_finished(tmp_path, image):
    out = tmp_path / "mask.tif"
    predict_large(job(image, Box()), out)
    content = bytearray(out.read_bytes())
    content[-1] ^= 1
    out.write_bytes(content)
    with pytest.raises(UnknownResult, match=r"mask\.tif: .*--overwrite"):
        predict_large(job(image), out)
    predict_large(job(image, Box()), out, overwrite=True)
    assert tifffile.imread(out).shape == (40, 30)


def test_an_image_of_equal_name_size_and_time_elsewhere_is_another_job(tmp_path, image):
    other = tmp_path / "other" / "a.npy"
    other.parent.mkdir()
    np.save(other, noise(40, 30, seed=1))
    os.utime(other, ns=(0, image.stat().st_mtime_ns))
    predict_large(job(image, Box()), tmp_path / "mask.tif")
    with pytest.raises(OtherJob, match=r"path .*a\.npy, .*path .*other.a\.npy"):
        predict_large(job(other), tmp_path / "mask.tif")


@pytest.mark.parametrize("name", ["mask.tif.json", "mask.tif.parts/0-0.zip", "mask.tif.parts"])
def test_files_of_the_user_next_to_the_result_are_kept(tmp_path, image, name):
    mine = tmp_path / name
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    with pytest.raises(UnknownResult, match=r"mask\.tif\.\w+: .*--overwrite"):
        predict_large(job(image), tmp_path / "mask.tif")
    assert mine.read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "polygons", "package", "extra"),
    [("mask.zarr", None, "zarr", "zarr"), ("mask.tif", Path("p.geojson"), "rasterio", "geo")],
)
def test_a_missing_package_is_an_error_before_any_work(tmp_path, image, monkeypatch, name, polygons, package, extra):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackage, match=rf"requires {package}\. .*maskwright\[{extra}\]"):
        predict_large(job(image, polygons=polygons), tmp_path / name)


def test_an_image_of_too_many_blocks_is_an_error(tmp_path, image, monkeypatch):
    monkeypatch.setattr(checks, "_MAX_BLOCKS", 2)
    np.save(tmp_path / "b.npy", np.zeros((1025, 1025), np.uint8))
    with pytest.raises(
        ImageTooLarge, match=r"b\.npy: found 1025 x 1025 pixels; expected at most 2 blocks of 1024 x 1024"
    ):
        predict_large(job(tmp_path / "b.npy"), tmp_path / "mask.tif")


def test_a_lost_coordinate_system_is_reported(tmp_path):
    pytest.importorskip("zarr")
    extratags = [(33550, "d", 3, (10.0, 10.0, 0.0), True), (33922, "d", 6, (0, 0, 0, 500.0, 600.0, 0), True)]
    tifffile.imwrite(tmp_path / "a.tif", noise(64, 64), photometric="minisblack", tile=(64, 64), extratags=extratags)
    lines = []
    predict_large(job(tmp_path / "a.tif", Box()), tmp_path / "mask.zarr", report=lines.append)
    assert "mask.zarr: " in lines[0]
    assert "coordinate system" in lines[0]
    shutil.rmtree(tmp_path / "mask.zarr")
    predict_large(job(tmp_path / "a.tif", Box()), tmp_path / "mask.tif", report=(lines := []).append)
    assert not any("coordinate" in line for line in lines)
