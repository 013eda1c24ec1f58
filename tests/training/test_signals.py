import signal
import threading

import pytest

from maskwright.training.signals import stoppable


def handlers():
    return signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)


def test_the_first_request_is_noted_and_the_second_does_what_it_always_did():
    before = handlers()
    with stoppable() as asked:
        assert not asked()
        signal.raise_signal(signal.SIGINT)
        assert asked()
        assert handlers() == before
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_without_a_request_all_is_as_before():
    before = handlers()
    with stoppable() as asked:
        assert handlers() != before
    assert not asked()
    assert handlers() == before


def test_what_is_ignored_stays_ignored():  # as of a command begun with nohup, or in the background
    kept = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stoppable() as asked:
            signal.raise_signal(signal.SIGINT)
            assert not asked()
    finally:
        signal.signal(signal.SIGINT, kept)


def test_beside_the_main_thread_nothing_changes():
    before, found = handlers(), []

    def work():
        with stoppable() as asked:
            found.extend((*handlers(), asked()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [*before, False]
