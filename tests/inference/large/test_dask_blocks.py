"""Distribute blocks over workers, with a simulated scheduler."""

import pickle
from types import SimpleNamespace

import pytest

from maskwright.inference.device import Device, missing_device
from maskwright.inference.large import dask_blocks, dask_worker
from maskwright.inference.large.block_predictor import BlockResult
from maskwright.inference.large.dask_blocks import DaskBlocks, SchedulerGone
from maskwright.inference.large.dask_cluster import Cluster
from maskwright.inference.large.dask_worker import WorkerCannotRead, WorkerResult
from maskwright.inference.tiling.layout import lay_out

pytest.importorskip("distributed", reason="needs the extra cluster")


class Client:
    """A scheduler whose workers finish every block at once."""

    scheduler = SimpleNamespace(address="tcp://10.0.0.7:8786")
    threads = 1

    def __init__(self):
        self.submitted = 0
        self.calls = []

    def nthreads(self):
        if not self.threads:
            raise OSError("closed")
        return {"tcp://10.0.0.8:1": self.threads}

    def submit(self, _, call, **__):
        self.submitted += 1
        self.calls.append(call)
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


def test_the_workers_compute_on_the_requested_device(monkeypatch, tmp_path):
    def open_engine(folder, *, threads, device):
        raise missing_device(device, [], found="no GPU", remedy="")

    worker = SimpleNamespace(address="tcp://10.0.0.8:1", state=SimpleNamespace(nthreads=1))
    monkeypatch.setattr("distributed.get_worker", lambda: worker)
    monkeypatch.setattr(dask_worker, "open_engine", open_engine)
    client, (block, *_) = Client(), lay_out(100, 100, multiple=32, margin=32, tile=1024).blocks()
    cluster = Cluster(client, worker_timeout=1, report=lambda line: None)
    list(cluster.blocks(tmp_path, tmp_path, None, device=Device("gpu", 1)).predict_blocks([block]))
    with pytest.raises(WorkerCannotRead, match=r"device gpu:1: no GPU"):
        pickle.loads(client.calls[0])  # noqa: S301 - as a worker does
