"""A data check in a thread: same result, progress in the caller's thread, stopped if it is not needed."""

import threading

import numpy as np
import pytest
from PIL import Image

from maskwright.images.files import MissingFolder
from maskwright.training import prefetch_check as module
from maskwright.training.prefetch_check import prefetch_check
from maskwright.training.prepare import check_data
from maskwright.training.recipe import DataRecipe


@pytest.fixture
def data(tmp_path):
    generator = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for number in range(6):
        Image.fromarray(generator.integers(0, 256, (40, 48, 3), np.uint8)).save(tmp_path / f"images/{number}.png")
        Image.fromarray(generator.integers(0, 2, (40, 48), np.uint8)).save(tmp_path / f"masks/{number}.png")
    return DataRecipe(images=tmp_path / "images", masks=tmp_path / "masks")


def test_the_result_is_that_of_the_check(data):
    with prefetch_check(data) as check:
        found = check(data)
    assert found == check_data(data)


def test_progress_is_reported_in_the_thread_of_the_caller(data, monkeypatch):
    reported, received = [], threading.Event()

    def slow(data, *, progress):
        progress(1, 6)
        assert received.wait(10)
        return check_data(data, progress=progress)

    def progress(done, total):
        reported.append((done, total, threading.current_thread()))
        received.set()

    monkeypatch.setattr(module, "check_data", slow)
    with prefetch_check(data) as check:
        check(data, progress=progress)
    here = threading.current_thread()  # a progress bar belongs to one thread
    assert (reported[0], reported[-1]) == ((1, 6, here), (6, 6, here))


def test_no_progress_is_reported_after_an_interrupt(data, monkeypatch):
    reported, released = [], threading.Event()

    def slow(data, *, progress):
        progress(1, 6)
        assert released.wait(10)
        progress(2, 6)

    def interrupt(done, total):
        reported.append(done)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "check_data", slow)
    with prefetch_check(data) as check:
        with pytest.raises(KeyboardInterrupt):
            check(data, progress=interrupt)
        released.set()
    assert reported == [1]


def test_a_second_call_reads_the_data_again(data):
    with prefetch_check(data) as check:
        assert check(data) is not check(data)


def test_an_error_is_raised_by_the_call(tmp_path):
    missing = DataRecipe(images=tmp_path / "none", masks=tmp_path / "none")
    with prefetch_check(missing) as check, pytest.raises(MissingFolder, match=r"none: not found; "):
        check(missing)


def test_other_data_is_read_by_the_call(data, tmp_path):
    with prefetch_check(DataRecipe(images=tmp_path / "none", masks=tmp_path / "none")) as check:
        assert check(data) == check_data(data)


def test_a_result_that_is_not_requested_is_not_waited_for(data, monkeypatch):
    ended = []

    def endless(data, *, progress):
        try:
            while True:
                progress(0, 6)
        finally:
            ended.append(True)

    monkeypatch.setattr(module, "check_data", endless)
    with prefetch_check(data):
        assert not ended
    assert ended
