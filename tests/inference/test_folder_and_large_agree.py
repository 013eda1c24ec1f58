"""An image has the same mask whether it is predicted into a folder or into a .tif, by every kind of engine."""

import keras
import numpy as np
import pytest
import tifffile
from PIL import Image

pytest.importorskip("openvino", reason="needs an exported engine")
pytest.importorskip("nncf", reason="needs an engine in int8")

from maskwright.export.export import export_run
from maskwright.inference.engines.engine import open_engine
from maskwright.inference.large.journal import CompletionRecord
from maskwright.inference.large.predict_large import LargePredictionJob, predict_large
from maskwright.inference.predict_folder import PredictionJob, predict_files
from maskwright.inference.test_time_augmentation import with_test_time_augmentation
from tests.export.a_run import write_run
from tests.export.test_int8 import build_network
from tests.inference.box_engine import Box

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exports go through TensorFlow")

MAX_DIFFERENT = {"f32": 0, "bf16": 1e-4, "int8": 1e-4}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folders of a run and its exports, by the name of the precision."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        folder = tmp_path_factory.mktemp("run")
        folders = {"keras": write_run(folder, network=build_network(outlier=0))}
        for precision in ("f32", "bf16", "int8"):
            folders[precision] = folder / precision
            export_run(folders["keras"], folders[precision], precision=precision)
        yield folders


def smooth(height, width):
    """Random colours that vary over about 10 pixels, (height, width, 3)."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def folder_mask(engine, file, out, margin=None):
    (result,) = predict_files(PredictionJob(engine, "x", margin=margin), [file], out)
    assert result.error is None
    return np.asarray(Image.open(result.written))


def large_mask(engine, file, out, margin=None):
    result = predict_large(LargePredictionJob(engine, "x", file, margin=margin), out)
    return tifffile.imread(result.written), result


def both_masks(engine, image, folder, margin=None):
    """The mask of a PNG in a folder, the mask of the same pixels as a TIFF, and the number of its blocks."""
    Image.fromarray(image).save(folder / "a.png", compress_level=1)
    tifffile.imwrite(folder / "b.tif", image, tile=(256, 256))
    of_folder = folder_mask(engine, folder / "a.png", folder / "masks", margin)
    of_large, _ = large_mask(engine, folder / "b.tif", folder / "mask.tif", margin)
    return of_folder, of_large, len(CompletionRecord.read_file(folder / "mask.tif.json").layout.blocks())


@pytest.mark.parametrize(
    ("name", "tta"),
    [
        ("keras", ()),
        ("keras", ("mirrored", "turned_left")),
        ("keras", ("smaller", "larger")),
        ("f32", ()),
        ("f32", ("mirrored", "turned_left")),
        ("f32", ("smaller", "larger")),
        ("bf16", ()),
        ("int8", ()),
    ],
)
def test_an_image_of_1500_x_1500_pixels(run, tmp_path, name, tta):
    engine = with_test_time_augmentation(open_engine(run[name]), tta)
    of_folder, of_large, blocks = both_masks(engine, smooth(1500, 1500), tmp_path)
    assert len(np.unique(of_folder)) > 1
    assert (of_folder != of_large).mean() <= MAX_DIFFERENT.get(name, 0)
    assert blocks == 1


@pytest.mark.parametrize("tta", [(), ("upside_down", "smaller")], ids=["plain", "augmented"])
@pytest.mark.parametrize(("name", "size", "margin"), [("f32", (1500, 1500), 64), ("bf16", (2200, 1000), None)])
def test_an_image_in_several_blocks(run, tmp_path, name, size, margin, tta):
    engine = with_test_time_augmentation(open_engine(run[name]), tta)
    of_folder, of_large, blocks = both_masks(engine, smooth(*size), tmp_path, margin)
    assert len(np.unique(of_folder)) > 1
    assert (of_folder != of_large).mean() <= MAX_DIFFERENT[name]
    assert blocks > 1


@pytest.mark.parametrize("size", [(100, 120), (256, 256), (531, 300)])
def test_holes_and_small_components_are_the_same(tmp_path, size):
    image = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    engine = Box(radius=2, tile=128, fill_holes=True, min_component_sizes=(0, 40))
    of_folder, of_large, _ = both_masks(engine, image, tmp_path)
    np.testing.assert_array_equal(of_folder, of_large)
    plain = folder_mask(Box(radius=2, tile=128), tmp_path / "a.png", tmp_path / "plain")
    assert (of_folder != plain).mean() > 0.01


@pytest.mark.parametrize(
    ("size", "margin"),
    [((100, 120), None), ((64, 256), 0), ((256, 256), None), ((256, 256), 0), ((250, 300), 32), ((531, 300), None)],
)
def test_the_windows_are_the_same_whatever_the_size_and_margin(tmp_path, size, margin):
    image = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    engines = Box(radius=40, tile=128), Box(radius=40, tile=128)
    Image.fromarray(image).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "b.tif", image, tile=(64, 64))
    of_folder = folder_mask(engines[0], tmp_path / "a.png", tmp_path / "masks", margin)
    of_large, result = large_mask(engines[1], tmp_path / "b.tif", tmp_path / "mask.tif", margin)
    np.testing.assert_array_equal(of_folder, of_large)
    seam_sites = len(engines[1].sizes) - len(engines[0].sizes)
    assert sorted(engines[0].sizes) == sorted(engines[1].sizes[: len(engines[0].sizes)])
    assert seam_sites > 0 if result.seam_fraction is not None else seam_sites == 0
