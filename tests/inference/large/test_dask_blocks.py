"""Distribute blocks over workers, with a simulated scheduler."""

from types import SimpleNamespace

import pytest

from maskwright.inference.large import dask_blocks
from maskwright.inference.large.block_predictor import BlockResult
from maskwright.inference.large.dask_blocks import DaskBlocks, SchedulerGone
from maskwright.inference.large.dask_worker import WorkerResult
from maskwright.inference.tiling.layout import lay_out

pytest.importorskip("distributed", reason="needs the extra cluster")


class Client:
    """A scheduler whose workers finish every block at once."""

    scheduler = SimpleNamespace(address="tcp://10.0.0.7:8786")
    threads = 1

    def __init__(self):
        self.submitted = 0

    def nthreads(self):
        if not self.threads:
            raise OSError("closed")
        return {"tcp://10.0.0.8:1": self.threads}

    def submit(self, *_, **__):
        self.submitted += 1
        return Done()


class Done:
    def add_done_callback(self, callback):
        callback(self)

    def result(self, timeout):
        return WorkerResult(BlockResult(None), "a worker", {}, None)


def blocks_on(client):
    return DaskBlocks(client, task=None, worker_timeout=1, report=lambda line: None)


def test_new_workers_are_counted_while_blocks_arrive(monkeypatch):
    now = iter(range(10**6))
    monkeypatch.setattr(dask_blocks.time, "monotonic", lambda: 0.4 * next(now))
    client = Client()
    blocks = lay_out(20_000, 100, multiple=32, margin=32, tile=1024).blocks()
    in_flight = []
    for done, _ in enumerate(blocks_on(client).predict_blocks(blocks), 1):
        in_flight.append(client.submitted - done + 1)
        client.threads = 4
    assert in_flight[0] == 2  # two per thread
    assert max(in_flight) == 8
    assert client.submitted == len(blocks) == len(in_flight)


def test_a_lost_connection_is_an_error():
    client = Client()
    blocks = blocks_on(client)
    assert blocks.workers == 1
    client.threads = 0
    with pytest.raises(SchedulerGone, match=r"10\.0\.0\.7:8786: lost the connection"):
        _ = blocks.workers
