import errno
import os
import signal
import threading
import time

import numpy as np
import pytest
import tifffile
from PIL import Image

from maskwright.errors import WrongArgument
from maskwright.images.files import SameOutput
from maskwright.images.write import write_mask
from maskwright.inference.completed_files import COMPLETED_FILE
from maskwright.inference.predict_folder import (
    MANIFEST,
    OVERWRITING,
    OnlyResults,
    OutputIsInput,
    OutputsExist,
    PredictionJob,
    predict_files,
)
from tests.inference.fake_engines import Brightness


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


def test_each_image_gets_a_mask_of_its_size_under_its_relative_path(images, tmp_path):
    results = predict_files(PredictionJob(Brightness(), "x"), [images], tmp_path / "out")
    assert [result.error for result in results] == [None, None]
    assert (read(tmp_path / "out/a.png") == 255).all()
    assert (read(tmp_path / "out/deep/b.png") == 0).all()
    assert read(tmp_path / "out/a.png").shape == (5, 7)


def test_probabilities_are_a_tiff_with_one_page_per_class(images, tmp_path):
    predict_files(PredictionJob(Brightness(), "x", output="probabilities"), [images], tmp_path / "out")
    np.testing.assert_allclose(tifffile.imread(tmp_path / "out/a.tif").squeeze(), 200 / 255, rtol=1e-6)


def test_an_overlay_is_drawn_on_request(images, tmp_path):
    predict_files(PredictionJob(Brightness(), "x", overlay=True), [images], tmp_path / "out")
    assert read(tmp_path / "out/a.overlay.png").shape == (5, 7, 3)


def test_a_damaged_image_fails_alone(images, tmp_path):
    whole = (images / "a.png").read_bytes()
    (images / "c.png").write_bytes(whole[: len(whole) // 2])
    results = predict_files(PredictionJob(Brightness(), "x"), [images], tmp_path / "out")
    failed = [result for result in results if result.error]
    assert [result.source.name for result in failed] == ["c.png"]
    assert "c.png" in str(failed[0].error)
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.png")) == ["a.png", "b.png"]


def test_a_second_call_predicts_only_missing_results(images, tmp_path):
    job = PredictionJob(Brightness(), "x")
    predict_files(job, [images], tmp_path / "out")
    (tmp_path / "out/deep/b.png").unlink()
    again = predict_files(PredictionJob(Brightness(), "x"), [images], tmp_path / "out")
    assert [result.already_done for result in again] == [True, False]
    assert (tmp_path / "out/deep/b.png").exists()


@pytest.mark.parametrize("seconds", [10, -100_000], ids=["newer", "older"])
def test_a_replaced_image_is_predicted_again(images, tmp_path, seconds):
    predict_files(PredictionJob(Brightness(), "x"), [images], tmp_path / "out")
    paint(images / "a.png", 10)
    os.utime(images / "a.png", (time.time() + seconds, time.time() + seconds))
    again = predict_files(PredictionJob(Brightness(), "x"), [images], tmp_path / "out")
    assert [result.already_done for result in again] == [False, True]
    assert (read(tmp_path / "out/a.png") == 0).all()


def test_a_truncated_or_changed_result_is_predicted_again(images, tmp_path):
    job, mask = PredictionJob(Brightness(), "x", overlay=True), tmp_path / "out/a.png"
    predict_files(job, [images], tmp_path / "out")
    whole = mask.read_bytes()
    for damage in (
        lambda: mask.write_bytes(whole[:-7]),
        lambda: mask.write_bytes(whole[:-1] + b"?"),
        lambda: (tmp_path / "out/a.overlay.png").write_bytes(b""),
        lambda: (tmp_path / "out/a.overlay.png").unlink(),
    ):
        damage()
        again = predict_files(job, [images], tmp_path / "out")
        assert [result.already_done for result in again] == [False, True]
        assert mask.read_bytes() == whole
        assert read(tmp_path / "out/a.overlay.png").shape == (5, 7, 3)


def test_without_the_record_of_complete_results_all_are_predicted_again(images, tmp_path):
    job, out = PredictionJob(Brightness(), "x"), tmp_path / "out"
    predict_files(job, [images], out)
    (out / COMPLETED_FILE).unlink()
    for already_done in (False, True):
        assert [result.already_done for result in predict_files(job, [images], out)] == [already_done] * 2


@pytest.mark.parametrize("margin", [-1, 1025])
def test_a_margin_out_of_range_is_an_error_before_any_file_is_written(images, tmp_path, margin):
    with pytest.raises(WrongArgument, match=f"margin={margin}: "):
        predict_files(PredictionJob(Brightness(), "x", margin=margin), [images], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_results_have_the_order_of_the_inputs_and_are_reported_at_once(tmp_path):
    sizes = [(5, 7), (40, 40)] * 6 + [(200, 200)]
    files = [paint(tmp_path / f"in/{number}.png", size=size) for number, size in enumerate(sizes)]
    files.insert(3, tmp_path / "in/broken.png")
    files[3].write_bytes(b"not an image")
    reported = []
    job = PredictionJob(Brightness(tile=128), "x")
    predict_files(job, files[5:7], tmp_path / "out")
    results = predict_files(job, files, tmp_path / "out", done=lambda *call: reported.append(call))
    assert [result.source for result in results] == files
    assert [number for number, _, _ in reported] == list(range(1, 15))
    assert {total for _, total, _ in reported} == {14}
    assert sorted(map(id, results)) == sorted(id(result) for _, _, result in reported)
    assert [result.source for _, _, result in reported[:3]] == [*files[5:7], files[3]]  # without waiting for a batch


def test_a_file_is_reported_while_others_are_predicted(tmp_path, monkeypatch):
    written, reported = threading.Semaphore(0), []

    class Patient(Brightness):
        def __call__(self, images):
            if self.sizes:
                assert written.acquire(timeout=10)
                self.reported = len(reported)
            return super().__call__(images)

    def write(path, values):
        write_mask(path, values)
        written.release()

    for number in range(30):
        paint(tmp_path / f"in/{number}.png", size=(32, 32))
    monkeypatch.setattr("maskwright.inference.predict_folder.write_mask", write)
    engine = Patient(tile=32)  # one image per call
    predict_files(
        PredictionJob(engine, "x"), [tmp_path / "in"], tmp_path / "out", done=lambda *call: reported.append(call)
    )
    assert 0 < engine.reported < 30


def test_overwrite_predicts_every_image_again(images, tmp_path):
    predict_files(PredictionJob(Brightness(), "x"), [images], tmp_path / "out")
    again = predict_files(PredictionJob(Brightness(), "x"), [images], tmp_path / "out", overwrite=True)
    assert [result.already_done for result in again] == [False, False]


def test_masks_and_overlays_do_not_depend_on_the_batch(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(11):
        pixels = rng.integers(0, 256, (30 - number, 20 + number), dtype=np.uint8)
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / f"in/{number}.png")
    job = PredictionJob(Brightness(), "x", overlay=True)
    predict_files(job, [tmp_path / "in"], tmp_path / "together")
    for number in range(11):
        predict_files(job, [tmp_path / f"in/{number}.png"], tmp_path / "alone")
        expected = np.asarray(Image.open(tmp_path / f"in/{number}.png")) >= 128
        np.testing.assert_array_equal(read(tmp_path / f"together/{number}.png") == 255, expected)
        for name in (f"{number}.png", f"{number}.overlay.png"):
            assert (tmp_path / "together" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


@pytest.mark.parametrize(
    "other",
    [
        PredictionJob(Brightness(), "y"),
        PredictionJob(Brightness(threshold=0.9), "x"),
        PredictionJob(Brightness(), "x", margin=64),
    ],
)
def test_results_of_another_network_or_setting_are_not_reused(images, tmp_path, other):
    predict_files(PredictionJob(Brightness(), "x"), [images], tmp_path / "out")
    another_image = tmp_path / "another.png"
    another_image.write_bytes(next(images.glob("*.png")).read_bytes())
    for inputs in (images, another_image):  # also if no result has the same name
        with pytest.raises(OutputsExist, match=r"out: contains results .*--overwrite"):
            predict_files(other, [inputs], tmp_path / "out")
    assert not any(result.already_done for result in predict_files(other, [images], tmp_path / "out", overwrite=True))


def test_after_an_interrupted_overwrite_old_results_are_replaced(images, tmp_path, monkeypatch):
    predict_files(PredictionJob(Brightness(), "x"), [images], tmp_path / "out")
    brighter = PredictionJob(Brightness(threshold=0.9), "x")

    def interrupted(path, values):
        if path.name == "b.png":
            raise KeyboardInterrupt
        write_mask(path, values)

    monkeypatch.setattr("maskwright.inference.predict_folder.write_mask", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict_files(brighter, [images], tmp_path / "out", overwrite=True)
    monkeypatch.undo()
    again = predict_files(brighter, [images], tmp_path / "out")
    assert [result.already_done for result in again] == [True, False]


def test_a_second_overwrite_resumes_an_interrupted_one(images, tmp_path, monkeypatch):
    job, out = PredictionJob(Brightness(), "x"), tmp_path / "out"
    predict_files(job, [images], out)

    def interrupted(path, values):
        if path.name == "b.png":
            raise KeyboardInterrupt
        write_mask(path, values)

    for expected in ([True, False], [False, False]):
        if expected[0]:
            monkeypatch.setattr("maskwright.inference.predict_folder.write_mask", interrupted)
            with pytest.raises(KeyboardInterrupt):
                predict_files(job, [images], out, overwrite=True)
            monkeypatch.undo()
        again = predict_files(job, [images], out, overwrite=True)
        assert [result.already_done for result in again] == expected
        assert not (out / OVERWRITING).exists()


def test_an_interrupted_overwrite_of_another_job_is_not_resumed(images, tmp_path, monkeypatch):
    job, out = PredictionJob(Brightness(), "x"), tmp_path / "out"
    monkeypatch.setattr("maskwright.inference.predict_folder.write_mask", broken)
    with pytest.raises(RuntimeError):
        predict_files(PredictionJob(Brightness(), "y"), [images], out, overwrite=True)
    monkeypatch.undo()
    name = (out / OVERWRITING).read_bytes()
    predict_files(job, [images], out, overwrite=True)
    (out / OVERWRITING).write_bytes(name)
    assert not any(result.already_done for result in predict_files(job, [images], out, overwrite=True))


def broken(path, values):
    raise RuntimeError


def test_unknown_files_are_kept(images, tmp_path):
    paint(tmp_path / "out/a.png", 99)
    with pytest.raises(OutputsExist, match=r"out: contains 1 file with the name"):
        predict_files(PredictionJob(Brightness(), "x"), [images], tmp_path / "out")
    assert (read(tmp_path / "out/a.png") == 99).all()


def test_masks_never_replace_the_images(images):
    with pytest.raises(OutputIsInput, match=r"a\.png: .*input image"):
        predict_files(PredictionJob(Brightness(), "x"), [images], images, overwrite=True)


def test_files_of_an_output_folder_inside_the_input_are_not_inputs(images, monkeypatch):
    job, out = PredictionJob(Brightness(), "x", overlay=True), images / "masks"
    for named in (images, str(images / "**"), images):
        results = predict_files(job, [named], out)
        assert sorted(result.source.relative_to(images).as_posix() for result in results) == ["a.png", "deep/b.png"]
    assert all(result.already_done for result in results)
    monkeypatch.chdir(images)
    assert len(predict_files(job, ["."], out)) == 2


def test_inputs_that_are_all_results_are_an_error(images):
    predict_files(PredictionJob(Brightness(), "x"), [images / "a.png"], images / "deep")
    (images / "deep/b.png").unlink()
    (images / "a.png").unlink()
    with pytest.raises(OnlyResults, match=r"deep: "):
        predict_files(PredictionJob(Brightness(), "x"), [images], images / "deep")


def test_a_mask_and_an_overlay_never_share_a_file(images, tmp_path):
    paint(images / "a.overlay.png", 10)
    text = r"a\.overlay\.png and .*a\.png: both would be written as .*out.a\.overlay\.png; expected one input for each"
    with pytest.raises(SameOutput, match=text):
        predict_files(PredictionJob(Brightness(), "x", overlay=True), [images], tmp_path / "out")
    assert len(predict_files(PredictionJob(Brightness(), "x"), [images], tmp_path / "out")) == 3


def test_overlays_never_replace_images_or_unknown_files(images, tmp_path):
    job = PredictionJob(Brightness(), "x", output="probabilities", overlay=True)
    paint(tmp_path / "out/a.overlay.png", 99)
    with pytest.raises(OutputsExist, match=r"out: contains 1 file with the name"):
        predict_files(job, [images], tmp_path / "out")
    with pytest.raises(OutputIsInput, match=r"a\.png: .*input image"):
        predict_files(job, [images / "a.png", tmp_path / "out/a.overlay.png"], tmp_path / "out", overwrite=True)
    assert (read(tmp_path / "out/a.overlay.png") == 99).all()


def many(tmp_path):
    for number in range(30):
        paint(tmp_path / f"in/{number:02}.png", 10 * (number % 26))
    return tmp_path / "in"


def test_a_full_disk_is_an_error_that_leaves_complete_files_only(tmp_path, monkeypatch):
    written = []

    def full(path, values):
        if len(written) >= 5:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        written.append(path)
        write_mask(path, values)

    threads, images, out = threading.active_count(), many(tmp_path), tmp_path / "out"
    monkeypatch.setattr("maskwright.inference.predict_folder.write_mask", full)
    with pytest.raises(OSError, match="No space left") as raised:
        predict_files(PredictionJob(Brightness(), "x"), [images], out)
    assert raised.value.errno == errno.ENOSPC
    assert threading.active_count() == threads
    assert set(out.iterdir()) == {*written, out / MANIFEST, out / COMPLETED_FILE}
    monkeypatch.undo()
    again = predict_files(PredictionJob(Brightness(), "x"), [images], out)
    assert {out / result.source.name for result in again if result.already_done} == set(written)


def test_an_output_folder_that_cannot_be_created_is_an_error_at_once(images, tmp_path):
    (tmp_path / "file").write_text("a file")
    engine = Brightness()
    with pytest.raises(NotADirectoryError, match=r"Not a directory: '.*file.out'"):
        predict_files(PredictionJob(engine, "x"), [images], tmp_path / "file/out")
    assert engine.sizes == []


class Interrupted(Brightness):
    """Simulates Ctrl-C during its third call."""

    def __call__(self, images):
        if len(self.sizes) == 2:
            signal.raise_signal(signal.SIGINT)
        return super().__call__(images)


class Broken(Brightness):
    def __call__(self, images):
        if len(self.sizes) == 2:
            raise RuntimeError("the engine broke")
        return super().__call__(images)


@pytest.mark.parametrize(("engine", "error"), [(Interrupted, KeyboardInterrupt), (Broken, RuntimeError)])
def test_an_interruption_leaves_complete_files_and_the_next_call_resumes(tmp_path, engine, error):
    threads, images, out = threading.active_count(), many(tmp_path), tmp_path / "out"
    with pytest.raises(error):
        predict_files(PredictionJob(engine(), "x"), [images], out)
    assert threading.active_count() == threads
    complete = set(out.glob("[!.]*"))
    assert set(out.iterdir()) == complete | {out / MANIFEST, out / COMPLETED_FILE}  # no temporary file
    again = predict_files(PredictionJob(Brightness(), "x"), [images], out)
    assert {out / result.source.name for result in again if result.already_done} == complete
    for number in range(30):
        assert (read(out / f"{number:02}.png") == (255 if 10 * (number % 26) > 127 else 0)).all()
