import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile

from maskwright.errors import UnknownChoice, WrongArgument
from maskwright.images.components import cleaned
from maskwright.images.errors import WrongChannels
from maskwright.images.labels import IGNORED
from maskwright.inference.errors import ImageChanged
from maskwright.inference.large.encoding import Ids
from maskwright.inference.large.journal import OtherJob, UnknownResult
from maskwright.inference.large.predict_large import LargePredictionJob, predict_large
from maskwright.inference.large.result_lock import BeingPredicted, result_lock
from maskwright.inference.predict_image import predict_indices, predict_probabilities
from maskwright.inference.tiling.layout import lay_out
from tests.inference.box_engine import Box, mask_of, noise
from tests.inference.fake_engines import BACKGROUND, CELL, bundle


def saved(path, image):
    np.save(path, image)
    return path


def job(image, engine=None, **changes):
    return LargePredictionJob(engine or Box(), "weights", image, **changes)


def reported(large_job, out, **options):
    lines = []
    return predict_large(large_job, out, report=lines.append, **options), lines


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out" / "mask.tif"


@pytest.mark.parametrize("size", [(1, 1), (33, 700), (1000, 1024)])
def test_an_image_of_one_window_gives_the_indices_of_predict_image(tmp_path, out, size):
    image = noise(*size)
    result = predict_large(job(saved(tmp_path / "a.npy", image)), out)
    expected = Box().bundle.values(predict_indices(Box(), image[..., None]))
    np.testing.assert_array_equal(tifffile.imread(out), expected)
    assert (result.written, result.pixels, result.seam_fraction) == (out, image.size, None)


CLEANED = {"fill_holes": True, "min_component_sizes": (0, 30)}


@pytest.mark.parametrize(("size", "blocks"), [((150, 190), 1), ((700, 100), 4), ((500, 480), 9)])
def test_holes_and_small_components_are_those_of_the_whole_image(tmp_path, out, size, blocks):
    engine, image = Box(radius=2, tile=160, **CLEANED), noise(*size)
    result, lines = reported(job(saved(tmp_path / "a.npy", image), engine, margin=32), out)
    mask = tifffile.imread(out)
    np.testing.assert_array_equal(mask, engine.bundle.values(predict_indices(engine, image[..., None], margin=32)))
    assert (mask != mask_of(image, 2)).mean() > 0.01
    assert any(line.startswith("Clean-up: ") for line in lines) == (blocks > 1)
    assert result.seam_fraction == (0 if blocks > 1 else None)  # the borders are compared before the clean-up


@pytest.mark.parametrize("tile", [160, 1024])
def test_nodata_is_outside_the_image_for_holes_and_components(tmp_path, out, tile):
    image = np.maximum(noise(400, 400), 1)
    image[:, 170:174] = image[250, :] = image[noise(400, 400, seed=1) < 2] = 0
    file = write_tiff(tmp_path / "a.tif", image, extratags=[(42113, "s", 0, "0", True)])

    def predicted(name, **changes):
        predict_large(job(file, Box(radius=2, tile=tile, **changes), margin=32), out.with_name(name))
        mask = tifffile.imread(out.with_name(name))
        return np.select([mask == 254, mask == 255], [IGNORED, 1], 0).astype(np.uint8)

    plain = predicted("plain.tif")
    expected = cleaned(plain, min_component_sizes=(0, 30), fill_holes=True)
    assert (expected != plain).any()
    np.testing.assert_array_equal(predicted("cleaned.tif", **CLEANED), expected)


def test_probabilities_are_not_cleaned(tmp_path, out):
    image = noise(500, 100)
    engine = Box(tile=160, **CLEANED)
    _, lines = reported(job(saved(tmp_path / "a.npy", image), engine, output="probabilities", margin=32), out)
    np.testing.assert_array_equal(tifffile.imread(out), predict_probabilities(engine, image[..., None])[..., 0])
    assert not any("Clean-up" in line for line in lines)


@pytest.mark.parametrize("size", [(700, 900), (90, 1500), (1511, 100)])
def test_a_margin_of_the_receptive_radius_gives_the_result_of_one_call(tmp_path, out, size):
    image, engine = noise(*size), Box(radius=20, tile=256)
    result, lines = reported(job(saved(tmp_path / "a.npy", image), engine, margin=20), out)
    np.testing.assert_array_equal(tifffile.imread(out), mask_of(image, 20))
    assert result.margin == 32  # the next multiple of the network's
    assert result.seam_fraction == 0
    assert lines[0].startswith("Margin: 32 pixels,")
    assert max(height * width for height, width in engine.sizes) <= (256 + 64) ** 2
    assert sorted(path.name for path in out.parent.iterdir()) == ["mask.tif", "mask.tif.json"]


def test_a_margin_below_the_receptive_radius_shows_in_the_seam(tmp_path, out):
    image = noise(1300, 2300)
    result, lines = reported(job(saved(tmp_path / "a.npy", image), Box(radius=60), margin=0), out)
    wrong = tifffile.imread(out) != mask_of(image, 60)
    assert wrong.any()
    # With a margin of at least 128 the strips are right, so the seam is the error of the compared strips.
    strips = [wrong[640:896, x - 128 : x + 128] for x in (768, 1536)]  # around crossings of inner borders
    assert result.seam_fraction == pytest.approx(np.mean(strips))
    assert result.seam_fraction > 0.001
    assert lines[-1].startswith(f"Seam: {result.seam_fraction:.3%} of 131,072 pixels along inner borders change")


def test_the_margin_is_measured_by_default(tmp_path, out):
    image = noise(1300, 500)
    result, lines = reported(job(saved(tmp_path / "a.npy", image), Box(radius=40, tile=512)), out)
    assert result.margin == 64
    np.testing.assert_array_equal(tifffile.imread(out), mask_of(image, 40))
    assert lines[0].startswith("Margin: 64 pixels, measured")
    assert re.search(r": 2 of 3 windows of 640 x 512 pixels; about 0:00:0", lines[1])


def test_probabilities_are_those_of_one_call(tmp_path, out):
    image = noise(1300, 100)
    predict_large(job(saved(tmp_path / "a.npy", image), Box(tile=256), output="probabilities", margin=32), out)
    whole = Box(tile=4096)
    np.testing.assert_array_equal(tifffile.imread(out), predict_probabilities(whole, image[..., None])[..., 0])


def test_a_zarr_array_holds_the_same_ids(tmp_path, out):
    zarr = pytest.importorskip("zarr")
    image = noise(1300, 300)
    engine = Box(tile=256, **CLEANED)
    predict_large(job(saved(tmp_path / "a.npy", image), engine, margin=32), out.with_suffix(".zarr"))
    expected = engine.bundle.values(predict_indices(engine, image[..., None], margin=32))
    assert (expected != mask_of(image, 5)).any()
    np.testing.assert_array_equal(zarr.open_array(out.with_suffix(".zarr"), mode="r")[:], expected)


@pytest.mark.parametrize(("output", "missing"), [("ids", 254), ("probabilities", np.nan)])
def test_the_fill_value_of_a_zarr_array_is_nodata(tmp_path, out, output, missing):
    zarr = pytest.importorskip("zarr")
    image = saved(tmp_path / "a.npy", np.uint8([[[9, 255], [9, 0]]]))
    predict_large(job(image, output=output), out.with_suffix(".zarr"))
    array = zarr.open_array(out.with_suffix(".zarr"), mode="r")
    np.testing.assert_equal(array.fill_value, array.dtype.type(missing))
    np.testing.assert_equal(array[0, 1], array.fill_value)
    assert array[0, 0] != array.fill_value


def write_tiff(path, image, **options):
    tifffile.imwrite(path, image, tile=(64, 64), photometric="minisblack", **options)
    return path


def test_nodata_stays_nodata_and_empty_blocks_are_not_predicted(tmp_path, out):
    image = np.maximum(noise(1300, 2300), 1)
    image[:, :1600] = 0
    image[3, 2000] = 0
    engine = Box(radius=2)
    file = write_tiff(tmp_path / "a.tif", image, extratags=[(42113, "s", 0, "0", True)])
    predict_large(job(file, engine, margin=32), out)
    found = tifffile.imread(out)
    np.testing.assert_array_equal(found == 254, image == 0)  # 255 is a class
    assert len(engine.sizes) == 2 + 2  # two of six blocks, and two sites of the seam
    far = np.s_[:, 1610:]
    differing = (found != mask_of(image, 2))[far] & (image != 0)[far]
    assert differing.sum() <= 25  # around the nodata pixel, which holds the mean and not black


def test_nodata_is_the_highest_value_up_to_255_without_a_class():
    def of(values):
        labels = [BACKGROUND, *(CELL.model_copy(update={"value": value, "background": False}) for value in values)]
        encoding = Ids(bundle(labels=labels, activation="softmax"))
        return encoding.nodata, encoding.dtype

    assert of([1]) == (255, np.uint8)
    assert of([255, 254]) == (253, np.uint8)
    assert of([1000]) == (255, np.uint16)
    assert of(range(2, 256)) == (1, np.uint8)


def test_blocks_of_label_indices_become_mask_values():
    labels = [BACKGROUND, *(CELL.model_copy(update={"value": value}) for value in (1000, 7))]
    encoding = Ids(bundle(labels=labels, activation="softmax"))
    block = encoding.encode(np.float32([[[0.5, 0.2, 0.3], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [1, 0, 0]]]))
    block[0, 3] = encoding.block_nodata
    layout = lay_out(1, 4, multiple=32, margin=0, tile=32)
    (tile,) = encoding.finish(lambda: iter([block]), layout)
    np.testing.assert_array_equal(tile[..., 0], [[0, 1000, 7, 255]])
    assert (block.dtype, tile.dtype) == (np.uint8, np.uint16)


def test_an_unreadable_tile_is_reported_and_the_rest_is_predicted(tmp_path, out):
    image = noise(1300, 1200)
    file = write_tiff(tmp_path / "a.tif", image, compression="zlib")
    with tifffile.TiffFile(file) as tiff:
        offset, length = tiff.pages[0].dataoffsets[19 * 11 + 11], tiff.pages[0].databytecounts[19 * 11 + 11]
    content = bytearray(file.read_bytes())
    content[offset : offset + length] = bytes(length)
    file.write_bytes(content)
    result = predict_large(job(file, Box(radius=2), margin=32), out)
    assert [(failure.rows, failure.columns) for failure in result.failed_windows] == [((704, 768), (704, 768))]
    found = tifffile.imread(out)
    np.testing.assert_array_equal(np.argwhere(found == 254)[[0, -1]], [[704, 704], [767, 767]])
    far = np.ones(image.shape, bool)
    far[702:770, 702:770] = False
    np.testing.assert_array_equal(found[far], mask_of(image, 2)[far])
    record = json.loads(out.with_name("mask.tif.json").read_text())
    assert record["failures"][0][:2] == [[704, 768], [704, 768]]
    assert record["nodata"] == 254


def test_an_interrupted_call_resumes(tmp_path, out):
    image = saved(tmp_path / "a.npy", noise(1300, 2300))

    def stop(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_large(job(image, Box(radius=20)), out, progress=stop)
    assert not out.exists()
    engine, counts = Box(radius=20), []
    result, lines = reported(job(image, engine), out, progress=lambda done, total: counts.append((done, total)))
    kept = 6 - len(counts)
    assert kept >= 3
    assert counts[-1] == (6, 6)
    assert re.search(rf"\b{kept} of 6 windows", lines[0])
    assert len(engine.sizes) == len(counts) + 2  # no block twice, no margin, and two sites of the seam
    assert result.margin == 32
    np.testing.assert_array_equal(tifffile.imread(out), mask_of(np.load(image), 20))


def test_a_finished_result_is_not_predicted_again(tmp_path, out):
    image = saved(tmp_path / "a.npy", noise(1300, 100))
    first, engine = predict_large(job(image, Box(tile=256), margin=32), out), Box(tile=256)
    assert first.seam_fraction == 0
    again = predict_large(job(image, engine, margin=32), out)
    assert again.already_done
    assert not first.already_done
    assert engine.sizes == []
    assert again.seam_fraction == first.seam_fraction
    assert not predict_large(job(image, Box(tile=256), margin=32), out, overwrite=True).already_done


def test_results_and_blocks_of_another_job_are_an_error(tmp_path, out):
    image = saved(tmp_path / "a.npy", noise(1300, 100))
    predict_large(job(image, margin=32), out)
    with pytest.raises(OtherJob, match=r"mask\.tif: .*margin 32, .*margin 64.*--overwrite"):
        predict_large(job(image, margin=64), out)

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_large(job(image, margin=64), out, overwrite=True, progress=stop)
    other = LargePredictionJob(Box(), "others", image, margin=64)
    with pytest.raises(OtherJob, match=r"mask\.tif\.parts: .*engine weights, .*engine others"):
        predict_large(other, out)
    predict_large(other, out, overwrite=True)
    assert tifffile.imread(out).shape == (1300, 100)


def test_unknown_files_are_kept(tmp_path, out):
    image = saved(tmp_path / "a.npy", noise(10, 10))
    out.parent.mkdir()
    out.write_text("mine")
    with pytest.raises(UnknownResult, match=r"mask\.tif: .*--overwrite"):
        predict_large(job(image), out)
    assert out.read_text() == "mine"
    predict_large(job(image), out, overwrite=True)
    assert tifffile.imread(out).shape == (10, 10)


def test_an_image_that_changes_while_it_is_read_leaves_no_file(tmp_path, out):
    image = saved(tmp_path / "a.npy", noise(1300, 100))

    def touch(done, total):
        os.utime(image, (1, done))

    with pytest.raises(ImageChanged, match=r"a\.npy: changed while it was read"):
        predict_large(job(image, margin=32), out, progress=touch)
    assert list(out.parent.iterdir()) == []


def test_a_damaged_block_is_predicted_again(tmp_path, out):
    image = saved(tmp_path / "a.npy", noise(1300, 100))

    def tear(done, total):
        if done == total:
            parts = sorted(out.with_name("mask.tif.parts").glob("*.zip"))
            parts[0].write_bytes(parts[0].read_bytes()[:-9])
            content = bytearray(parts[1].read_bytes())
            content[len(content) // 2] ^= 1
            parts[1].write_bytes(content)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_large(job(image, Box(tile=256), margin=32), out, progress=tear)
    _, lines = reported(job(image, Box(tile=256), margin=32), out)
    assert re.search(r"\b3 of 5 windows", lines[0])
    np.testing.assert_array_equal(tifffile.imread(out), mask_of(np.load(image), 5))


def test_windows_of_the_seam_are_no_larger_than_those_of_blocks(tmp_path, out):
    image, engine = saved(tmp_path / "a.npy", noise(2600, 2600)), Box()
    result = predict_large(job(image, engine, margin=512), out)
    assert result.seam_fraction == 0
    assert max(engine.sizes) == (1792, 1792)  # 768 kept pixels and 512 on each side
    assert engine.sizes[-1] == (1792, 1792)  # 896 on each side of a border, 768 of them beyond the compared pixels


def test_transparent_pixels_are_nodata_if_the_network_takes_no_alpha(tmp_path, out):
    image = noise(1300, 100)
    alpha = np.full_like(image, 255)
    alpha[:700, :30] = 0
    predict_large(job(saved(tmp_path / "a.npy", np.dstack([image, alpha])), Box(radius=0, tile=256), margin=32), out)
    np.testing.assert_array_equal(tifffile.imread(out), np.where(alpha, mask_of(image, 0), 254))


def test_a_second_process_is_an_error(tmp_path, out):
    image = saved(tmp_path / "a.npy", noise(10, 10))
    with result_lock(out), pytest.raises(BeingPredicted, match=r"mask\.tif: another process"):
        predict_large(job(image), out)
    predict_large(job(image), out)


@pytest.mark.parametrize(
    ("out", "changes", "text"),
    [
        ("a.png", {}, r"out='.*a\.png': expected a name that ends in \.tif, \.tiff or \.zarr\."),
        ("a.npy.tif", {"margin": -1}, r"margin=-1: expected 0 to 1024 pixels\."),
        (
            "a.tif",
            {"polygons": Path("p.geojson"), "output": "probabilities"},
            r"polygons='p\.geojson': expected ids in",
        ),
        ("a.zarr", {"polygons": Path("p.geojson")}, r"polygons='p\.geojson': expected ids in a TIFF"),
    ],
)
def test_invalid_settings_are_an_error(tmp_path, out, changes, text):
    image = saved(tmp_path / "a.npy", noise(10, 10))
    with pytest.raises(WrongArgument, match=text):
        predict_large(job(image, **changes), tmp_path / out)


def test_an_unknown_output_is_an_error(tmp_path, out):
    with pytest.raises(UnknownChoice, match=r"output='logits' is not known; expected one of ids, probabilities"):
        predict_large(job(tmp_path / "a.npy", output="logits"), out)


def test_the_image_is_never_replaced(tmp_path):
    file = write_tiff(tmp_path / "a.tif", noise(64, 64))
    with pytest.raises(WrongArgument, match=r"a\.tif': expected another file than the image"):
        predict_large(job(file), file, overwrite=True)


def test_other_channels_are_an_error_before_any_file_is_written(tmp_path, out):
    image = saved(tmp_path / "a.npy", np.zeros((10, 10, 5), np.uint8))
    with pytest.raises(WrongChannels, match=r"a\.npy: found 5 channels"):
        predict_large(job(image), out)
    assert list(out.parent.iterdir()) == []


def test_a_full_disk_leaves_the_finished_blocks(tmp_path, out, monkeypatch):
    image = saved(tmp_path / "a.npy", noise(1300, 2300))
    written, real = [], os.fsync

    def full(descriptor):
        written.append(descriptor)
        if len(written) == 4:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        predict_large(job(image, margin=32), out)
    monkeypatch.undo()
    assert not out.exists()
    parts = out.with_name("mask.tif.parts")
    assert len(list(parts.glob("*.zip"))) == len(list(parts.iterdir())) - 1 >= 2  # besides the claim
    predict_large(job(image, margin=32), out)
    np.testing.assert_array_equal(tifffile.imread(out), mask_of(np.load(image), 5))


def test_polygons_are_the_outlines_of_the_cleaned_mask(tmp_path, out):
    pytest.importorskip("rasterio")
    image = np.zeros((500, 100), np.uint8)
    image[100:400, 20:80] = 255
    image[140:380, 30:70] = 0  # a hole, and a small component in another block, both across a border
    image[478:482, 40:44] = 255
    outlines = tmp_path / "p.geojson"
    predict_large(job(saved(tmp_path / "a.npy", image), Box(radius=0, tile=160, **CLEANED), polygons=outlines), out)
    (cell,) = json.loads(outlines.read_text())["features"]
    (corners,) = cell["geometry"]["coordinates"]  # without a hole
    assert {tuple(corner) for corner in corners} == {(20, 100), (20, 400), (80, 400), (80, 100)}


def test_polygons_are_written_and_restored_if_they_are_missing(tmp_path, out):
    pytest.importorskip("rasterio")
    image = np.zeros((40, 60), np.uint8)
    image[5:25, 10:40] = 255
    outlines = tmp_path / "p.geojson"
    with_outlines = job(saved(tmp_path / "a.npy", image), Box(radius=0), polygons=outlines)
    for already_done in (False, True):
        assert predict_large(with_outlines, out).already_done is already_done
        (cell,) = json.loads(outlines.read_text())["features"]  # none of the background
        assert cell["properties"]["value"] == 255
        (corners,) = cell["geometry"]["coordinates"]
        assert {tuple(corner) for corner in corners} == {(10, 5), (10, 25), (40, 25), (40, 5)}
        outlines.unlink()
