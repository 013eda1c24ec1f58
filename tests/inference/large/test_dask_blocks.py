"""Blocks given out to workers, without any: what answers is here."""

from types import SimpleNamespace

import pytest

from maskwright.inference.large import dask_blocks
from maskwright.inference.large.block_grid import lay_out
from maskwright.inference.large.block_predictor import Part
from maskwright.inference.large.dask_blocks import SchedulerGone, Spread
from maskwright.inference.large.dask_worker import Answer

pytest.importorskip("distributed", reason="needs the extra cluster")


class Client:
    """A scheduler whose workers finish every block at once."""

    scheduler = SimpleNamespace(address="tcp://10.0.0.7:8786")
    threads = 1

    def __init__(self):
        self.asked = 0

    def nthreads(self):
        if not self.threads:
            raise OSError("closed")
        return {"tcp://10.0.0.8:1": self.threads}

    def submit(self, *_, **__):
        self.asked += 1
        return Done()


class Done:
    def add_done_callback(self, callback):
        callback(self)

    def result(self, timeout):
        return Answer(Part(None), "a worker", {}, None)


def spread_over(client):
    return Spread(client, task=None, patience=1, say=lambda line: None)


def test_workers_that_come_are_seen_though_no_block_is_waited_for(monkeypatch):
    now = iter(range(10**6))
    monkeypatch.setattr(dask_blocks.time, "monotonic", lambda: 0.4 * next(now))
    client = Client()
    blocks = lay_out(20_000, 100, multiple=32, margin=32).blocks()
    in_flight = []
    for done, _ in enumerate(spread_over(client).predict_blocks(blocks), 1):
        in_flight.append(client.asked - done + 1)
        client.threads = 4
    assert in_flight[0] == 2  # two for each thread
    assert max(in_flight) == 8
    assert client.asked == len(blocks) == len(in_flight)


def test_a_connection_that_ends_is_one_error_whatever_is_asked():
    client = Client()
    these = spread_over(client)
    assert these.workers == 1
    client.threads = 0
    with pytest.raises(SchedulerGone, match=r"10\.0\.0\.7:8786: lost the connection to the scheduler"):
        _ = these.workers
