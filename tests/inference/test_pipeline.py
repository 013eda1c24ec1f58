import os
import threading
from contextlib import closing

import numpy as np
import pytest
from PIL import Image

from maskwright.images.errors import UnreadableImage
from maskwright.images.read import read_image
from maskwright.inference import pipeline
from maskwright.inference.bundle import WrongPixels
from maskwright.inference.pipeline import FailedImage, ImageChanged, NumberedFile, predictions
from maskwright.inference.predict_image import predict_indices, predict_probabilities
from tests.inference.fake_engines import Blur, Brightness


class TwoCalls(Brightness):
    """Supports two calls at once, and records how many there were."""

    calls = 2

    def __init__(self, **changes):
        super().__init__(**changes)
        self.split, self.inside, self.most = 0, 0, 0
        self.met, self.counting = threading.Barrier(2), threading.Lock()

    def for_parallel_calls(self):
        self.split += 1
        return self

    def __call__(self, images):
        with self.counting:
            self.inside += 1
            self.most = max(self.most, self.inside)
        if self.split:
            self.met.wait(timeout=20)  # both calls run at the same time
        with self.counting:
            self.inside -= 1
        return super().__call__(images)


class LargeAndSmallCalls(Blur):
    """Supports eight calls at once, and records how many calls on windows larger than a tile there were at once."""

    calls = 8

    def __init__(self, **changes):
        super().__init__(**changes)
        self.parallel = None
        self.large, self.most_large, self.several = 0, 0, threading.Event()
        self.counting = threading.Lock()

    def for_parallel_calls(self):
        self.parallel = LargeAndSmallCalls(tile=self.bundle.tile)
        return self.parallel

    def __call__(self, images):
        if images.shape[1] * images.shape[2] <= self.bundle.tile**2:
            return super().__call__(images)
        with self.counting:
            self.large += 1
            self.most_large = max(self.most_large, self.large)
            if self.large > 1:
                self.several.set()
        self.several.wait(0.05)  # a second large call has time to begin
        with self.counting:
            self.large -= 1
        return super().__call__(images)


class Counting(Blur):
    """Records the number and size of the images of each call, and its thread."""

    def __init__(self, **changes):
        super().__init__(**changes)
        self.calls, self.threads = [], set()

    def __call__(self, images):
        self.calls.append((len(images), *images.shape[1:3]))
        self.threads.add(threading.current_thread())
        return super().__call__(images)


@pytest.fixture
def paint(tmp_path):
    rng = np.random.default_rng(0)

    def painted(sizes):
        files = []
        for number, size in enumerate(sizes):
            files.append(NumberedFile(number, tmp_path / f"{number}.png"))
            Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(files[-1].file)
        return files

    return painted


def predicted(engine, files, *, probabilities=False, margin=None):
    with closing(predictions(engine, files, probabilities=probabilities, margin=margin)) as found:
        return {one.source.number: one for one in found}


def test_images_of_one_padded_size_run_in_full_batches_and_the_rest_one_by_one(paint):
    engine = Counting()
    # 9 that become 32 x 32 and 3 that become 32 x 64, mixed
    predicted(engine, paint([(20, 30), (32, 64), (32, 32), (5, 5)] * 3))
    assert engine.calls == [(8, 32, 32), *[(1, 32, 64)] * 3, (1, 32, 32)]
    assert engine.threads == {threading.current_thread()}


def test_a_call_has_no_more_pixels_than_a_tile(paint):
    engine = Counting(tile=128)
    predicted(engine, paint([(64, 64)] * 8 + [(100, 128)] * 2))
    assert engine.calls == [(4, 64, 64)] * 2 + [(1, 128, 128)] * 2


@pytest.mark.parametrize("probabilities", [False, True])
def test_a_batch_gives_each_image_its_result_alone(paint, probabilities):
    files = paint([(20, 30), (64, 31), (5, 5), (150, 170), (20, 30), (1, 1), (32, 64), (33, 129)] * 3)
    engine, alone = Counting(tile=128), Blur(tile=128)
    found = predicted(engine, files, probabilities=probabilities, margin=8)
    assert max(count for count, *_ in engine.calls) == 8
    for number, file in files:
        image, values = read_image(file), found[number].values
        np.testing.assert_array_equal(found[number].image, image)
        indices = values if values.ndim == 2 else engine.bundle.decide(values)
        np.testing.assert_array_equal(indices, predict_indices(alone, image, margin=8))
        if probabilities:
            np.testing.assert_array_equal(values, predict_probabilities(alone, image, margin=8))


def test_many_images_run_in_parallel_calls_and_keep_their_order(paint):
    files, engine = paint([(32, 32)] * 96), TwoCalls()
    with closing(predictions(engine, files, probabilities=False)) as found:
        given = list(found)
    assert (engine.split, engine.most) == (1, 2)
    assert [one.source for one in given] == files
    for one in given[::7]:
        np.testing.assert_array_equal(one.values, predict_probabilities(Brightness(), read_image(one.source.file)))


@pytest.mark.parametrize("probabilities", [False, True])
def test_at_most_one_large_image_is_predicted_at_a_time(paint, probabilities):
    # In each eight, one is a window of more pixels than a tile, and one is predicted in blocks.
    files = paint([(32, 32), (60, 64), (32, 32), (20, 30), (32, 32), (32, 32), (70, 90), (5, 5)] * 8)
    engine = LargeAndSmallCalls(tile=32)
    found = predicted(engine, files, probabilities=probabilities)
    plain = Blur(tile=32)
    expected = {
        number: one
        for part in (files[:32], files[32:])  # too few for parallel calls
        for number, one in predicted(plain, part, probabilities=probabilities).items()
    }
    assert engine.most_large == 1
    assert engine.parallel.sizes
    assert all(height * width <= 32 * 32 for height, width in engine.parallel.sizes)
    assert found.keys() == expected.keys()
    for number, one in expected.items():
        np.testing.assert_array_equal(found[number].values, one.values)


def test_large_images_keep_the_order_of_the_batches_in_parallel_calls(paint):
    files = paint([*[(32, 32)] * 7, (60, 64)] * 8)
    with closing(predictions(LargeAndSmallCalls(tile=32), files, probabilities=False)) as found:
        assert [one.source for one in found] == files


def test_few_images_run_without_parallel_calls(paint):
    engine = TwoCalls()
    predicted(engine, paint([(32, 32)] * 20))
    assert (engine.split, engine.most) == (0, 1)


def test_a_failed_image_does_not_split_its_batch(paint):
    engine, files = Counting(), paint([(32, 32)] * 10)
    Image.fromarray(np.zeros((32, 32), np.uint16)).save(files[2].file)
    files[5].file.unlink()
    found = predicted(engine, files)
    errors = {number: type(one.error) for number, one in found.items() if isinstance(one, FailedImage)}
    assert errors == {2: WrongPixels, 5: UnreadableImage}
    assert engine.calls == [(8, 32, 32)]


def test_a_failed_large_image_does_not_affect_others(paint):
    engine, files = Counting(tile=64), paint([(200, 100), (32, 32)])
    Image.fromarray(np.zeros((200, 100), np.uint16)).save(files[0].file)
    found = predicted(engine, files)
    assert isinstance(found[0].error, WrongPixels)
    assert found[1].values.shape == (32, 32, 1)


def test_an_image_that_changes_while_it_is_read_fails(paint, monkeypatch):
    def read_and_touch(file):
        image = read_image(file)
        if file.name == "1.png":
            os.utime(file, (0, 0))
        return image

    monkeypatch.setattr(pipeline, "read_image", read_and_touch)
    found = predicted(Brightness(), paint([(4, 4)] * 3))
    assert isinstance(found[1].error, ImageChanged)
    assert "1.png: changed while it was read" in str(found[1].error)
    assert not isinstance(found[2], FailedImage)


def test_an_error_of_the_disk_names_the_image(paint, monkeypatch):
    def broken(file):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(pipeline, "read_image", broken)
    (failed,) = predicted(Brightness(), paint([(4, 4)])).values()
    assert isinstance(failed.error, UnreadableImage)
    assert "0.png: found Input/output error;" in str(failed.error)


def test_the_number_of_images_in_memory_is_bounded(paint, monkeypatch):
    monkeypatch.setattr(pipeline, "MAX_HELD", 5 * 32 * 32)
    read = []
    monkeypatch.setattr(pipeline, "read_image", lambda file: read.append(file) or read_image(file))
    with closing(predictions(Brightness(), paint([(32, 32)] * 40), probabilities=False)) as found:
        most = max(len(read) - number for number, _ in enumerate(found))
    assert len(read) == 40
    assert most <= 11  # five decoded, and six that wait for a batch


def test_the_size_that_waits_longest_runs_first_where_too_many_wait(paint, monkeypatch):
    monkeypatch.setattr(pipeline, "MAX_HELD", 6 * 32 * 32)
    engine = Counting()
    predicted(engine, paint([(32, 32), (32, 64), (32, 96), (32, 32), (32, 32)]))
    # At most 6 squares of 32 x 32 wait. The fourth image exceeds that, so the first size runs.
    assert engine.calls == [(1, 32, 32), (1, 32, 32), (1, 32, 64), (1, 32, 96), (1, 32, 32)]


def test_an_error_of_the_engine_reaches_the_caller_and_ends_the_threads(paint):
    class Broken(Brightness):
        def __call__(self, images):
            raise RuntimeError("the engine broke")

    before = threading.active_count()
    with pytest.raises(RuntimeError, match="the engine broke"):
        predicted(Broken(), paint([(8, 8)] * 20))
    assert threading.active_count() == before


def test_closing_early_ends_the_threads(paint):
    before = threading.active_count()
    with closing(predictions(Brightness(), paint([(8, 8)] * 20), probabilities=False)) as found:
        next(found)
        assert threading.active_count() > before
    assert threading.active_count() == before
