"""Data that is read and checked ahead: the same answer, told to whoever asks, and given up where nobody does."""

import threading

import numpy as np
import pytest
from PIL import Image

from maskwright.errors import InputError
from maskwright.training import prefetch_check
from maskwright.training.prefetch_check import checking_ahead
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


def test_the_answer_is_that_of_checking(data):
    with checking_ahead(data) as check:
        found = check(data)
    assert found == check_data(data)


def test_who_asks_is_told_how_far_it_is(data, monkeypatch):
    told, heard = [], threading.Event()

    def slow(data, *, progress):
        progress(1, 6)
        assert heard.wait(10)
        return check_data(data, progress=progress)

    def listen(done, total):
        told.append((done, total, threading.current_thread()))
        heard.set()

    monkeypatch.setattr(prefetch_check, "check_data", slow)
    with checking_ahead(data) as check:
        check(data, progress=listen)
    here = threading.current_thread()  # a bar on the terminal belongs to one thread
    assert (told[0], told[-1]) == ((1, 6, here), (6, 6, here))


def test_nobody_is_told_after_an_interrupt(data, monkeypatch):
    told, released = [], threading.Event()

    def slow(data, *, progress):
        progress(1, 6)
        assert released.wait(10)
        progress(2, 6)

    def interrupt(done, total):
        told.append(done)
        raise KeyboardInterrupt

    monkeypatch.setattr(prefetch_check, "check_data", slow)
    with checking_ahead(data) as check:
        with pytest.raises(KeyboardInterrupt):
            check(data, progress=interrupt)
        released.set()
    assert told == [1]


def test_a_second_time_it_is_read_anew(data):
    with checking_ahead(data) as check:
        assert check(data) is not check(data)


def test_a_fault_comes_to_who_asks(tmp_path):
    missing = DataRecipe(images=tmp_path / "none", masks=tmp_path / "none")
    with checking_ahead(missing) as check, pytest.raises(InputError, match="none"):
        check(missing)


def test_other_data_is_read_when_it_is_asked_for(data, tmp_path):
    with checking_ahead(DataRecipe(images=tmp_path / "none", masks=tmp_path / "none")) as check:
        assert check(data) == check_data(data)


def test_nobody_waits_for_what_nobody_asked_for(data, monkeypatch):
    ended = []

    def endless(data, *, progress):
        try:
            while True:
                progress(0, 6)
        finally:
            ended.append(True)

    monkeypatch.setattr(prefetch_check, "check_data", endless)
    with checking_ahead(data):
        assert not ended
    assert ended
