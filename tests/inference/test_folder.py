import os
import time

import numpy as np
import pytest
import tifffile
from PIL import Image

from maskwright.images.write import write_mask
from maskwright.inference.folder import Job, OutputIsInput, OutputsExist, predict_files
from tests.inference.engines import Brightness


def paint(path, value=200, size=(5, 7)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size, value, np.uint8)).save(path)
    long_ago = time.time() - 1000
    os.utime(path, (long_ago, long_ago))
    return path


@pytest.fixture
def images(tmp_path):
    for name, value in {"a.png": 200, "deep/b.png": 10}.items():
        paint(tmp_path / "in" / name, value)
    return tmp_path / "in"


def read(path):
    return np.asarray(Image.open(path))


def test_each_image_gets_a_mask_of_its_size_in_the_same_place(images, tmp_path):
    results = predict_files(Job(Brightness(), "x"), [images], tmp_path / "out")
    assert [result.error for result in results] == [None, None]
    assert (read(tmp_path / "out/a.png") == 255).all()
    assert (read(tmp_path / "out/deep/b.png") == 0).all()
    assert read(tmp_path / "out/a.png").shape == (5, 7)


def test_probabilities_are_a_tiff_with_a_page_for_each_class(images, tmp_path):
    predict_files(Job(Brightness(), "x", output="probabilities"), [images], tmp_path / "out")
    np.testing.assert_allclose(tifffile.imread(tmp_path / "out/a.tif").squeeze(), 200 / 255, rtol=1e-6)


def test_an_overlay_is_drawn_on_request(images, tmp_path):
    predict_files(Job(Brightness(), "x", overlay=True), [images], tmp_path / "out")
    assert read(tmp_path / "out/a.overlay.png").shape == (5, 7, 3)


def test_one_bad_file_costs_only_itself(images, tmp_path):
    whole = (images / "a.png").read_bytes()
    (images / "c.png").write_bytes(whole[: len(whole) // 2])
    results = predict_files(Job(Brightness(), "x"), [images], tmp_path / "out")
    failed = [result for result in results if result.error]
    assert [result.source.name for result in failed] == ["c.png"]
    assert "c.png" in str(failed[0].error)
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.png")) == ["a.png", "b.png"]


def test_a_second_call_does_only_what_is_left(images, tmp_path):
    job = Job(Brightness(), "x")
    predict_files(job, [images], tmp_path / "out")
    (tmp_path / "out/deep/b.png").unlink()
    again = predict_files(Job(Brightness(), "x"), [images], tmp_path / "out")
    assert [result.already_done for result in again] == [True, False]
    assert (tmp_path / "out/deep/b.png").exists()


def test_an_image_that_changed_is_done_again(images, tmp_path):
    predict_files(Job(Brightness(), "x"), [images], tmp_path / "out")
    paint(images / "a.png", 10)
    os.utime(images / "a.png", (time.time() + 10, time.time() + 10))
    again = predict_files(Job(Brightness(), "x"), [images], tmp_path / "out")
    assert [result.already_done for result in again] == [False, True]
    assert (read(tmp_path / "out/a.png") == 0).all()


@pytest.mark.parametrize("other", [Job(Brightness(), "y"), Job(Brightness(threshold=0.9), "x")])
def test_results_of_another_network_or_threshold_are_not_taken_for_these(images, tmp_path, other):
    predict_files(Job(Brightness(), "x"), [images], tmp_path / "out")
    with pytest.raises(OutputsExist, match=r"out: holds results of another network or settings; name another folder"):
        predict_files(other, [images], tmp_path / "out")
    assert not any(result.already_done for result in predict_files(other, [images], tmp_path / "out", overwrite=True))


def test_results_that_an_interrupted_overwrite_had_not_reached_are_replaced(images, tmp_path, monkeypatch):
    predict_files(Job(Brightness(), "x"), [images], tmp_path / "out")
    brighter = Job(Brightness(threshold=0.9), "x")

    def interrupted(path, values):
        if path.name == "b.png":
            raise KeyboardInterrupt
        write_mask(path, values)

    monkeypatch.setattr("maskwright.inference.folder.write_mask", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict_files(brighter, [images], tmp_path / "out", overwrite=True)
    monkeypatch.undo()
    again = predict_files(brighter, [images], tmp_path / "out")
    assert [result.already_done for result in again] == [True, False]


def test_files_nobody_here_wrote_are_left_alone(images, tmp_path):
    paint(tmp_path / "out/a.png", 99)
    with pytest.raises(OutputsExist, match=r"out: holds 1 files of these names"):
        predict_files(Job(Brightness(), "x"), [images], tmp_path / "out")
    assert (read(tmp_path / "out/a.png") == 99).all()


def test_masks_are_never_written_over_the_images(images):
    with pytest.raises(OutputIsInput, match=r"a\.png: its mask would be written over an image"):
        predict_files(Job(Brightness(), "x"), [images], images, overwrite=True)
