import signal
import threading

import pytest

from maskwright.training.signals import stoppable


def handlers():
    return signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)


def test_the_first_signal_is_recorded_and_the_second_has_its_usual_effect():
    before = handlers()
    with stoppable() as stop_requested:
        assert not stop_requested()
        signal.raise_signal(signal.SIGINT)
        assert stop_requested()
        assert handlers() == before
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_without_a_signal_the_handlers_are_restored():
    before = handlers()
    with stoppable() as stop_requested:
        assert handlers() != before
    assert not stop_requested()
    assert handlers() == before


def test_an_ignored_signal_stays_ignored():  # as in a command started with nohup or in the background
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stoppable() as stop_requested:
            signal.raise_signal(signal.SIGINT)
            assert not stop_requested()
    finally:
        signal.signal(signal.SIGINT, before)


def test_outside_the_main_thread_nothing_changes():
    before, found = handlers(), []

    def work():
        with stoppable() as stop_requested:
            found.extend((*handlers(), stop_requested()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [*before, False]
