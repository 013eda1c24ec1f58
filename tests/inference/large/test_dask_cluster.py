"""Other processes predict the blocks; whatever happens to them, the result is that of one process, or one error."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from maskwright.errors import MissingPackage, WrongArgument
from maskwright.images.errors import WrongChannels
from maskwright.inference.engines.engine import open_engine, weights_digest
from maskwright.inference.large.predict_large import LargeJob, predict_large

pytest.importorskip("distributed", reason="needs the extra cluster")
pytest.importorskip("openvino", reason="needs an engine that several processes open")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are stopped and killed by signals")

from maskwright.inference.large import dask_blocks, dask_worker  # noqa: E402
from maskwright.inference.large.dask_blocks import BlockEndsWorkers, SchedulerGone, WorkersGone, WorkerUnfit  # noqa: E402
from maskwright.inference.large.dask_cluster import NoScheduler, connected, started  # noqa: E402
from maskwright.inference.large.dask_worker import WorkerCannotRead, WorkerSeesOther  # noqa: E402
from tests.inference.large.boxes import noise  # noqa: E402
from tests.inference.large.machines import machines, write_engine  # noqa: E402

BLOCKS = 10


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    return write_engine(tmp_path_factory.mktemp("engines") / "engine")


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "a.npy"
    np.save(path, noise(1024 * BLOCKS, 64))
    return path


@pytest.fixture(scope="module")
def alone(job, tmp_path_factory):
    """What this process makes of the image by itself."""
    folder = tmp_path_factory.mktemp("alone")
    predict_large(job, folder / "mask.tif")
    record = (folder / "mask.tif.json").read_bytes()
    return (folder / "mask.tif").read_bytes(), record


@pytest.fixture(scope="module")
def job(engine, image):
    return job_of(engine, image)


def job_of(engine, image):
    return LargeJob(open_engine(engine), weights_digest(engine), image, margin=32)


def predict(job, out, cluster, engine, *, image=None, **options):
    return predict_large(job, out, spread=partial(cluster.spread, engine, image or job.image), **options)


def made(out):
    return out.read_bytes(), out.with_name(f"{out.name}.json").read_bytes()


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out" / "mask.tif"


@pytest.fixture(scope="module")
def shared():
    """A scheduler with one worker of two threads, to which nothing happens."""
    with machines() as these:
        these.add_worker(threads=2)
        yield these


def kill_at_work(worker, done):
    """Stop a worker before blocks are given out, so that it keeps its own; kill it when there are no others left."""
    if done == 1:
        worker.send_signal(signal.SIGSTOP)
    if done == BLOCKS - 4:
        worker.kill()


def test_a_worker_killed_in_its_work_costs_nothing(job, engine, alone, out):
    with machines() as these, connected(these.address) as cluster:
        first, _ = these.add_worker(), these.add_worker()
        in_flight = []

        def watch(done, total):
            in_flight.append(len(cluster.client.futures))
            kill_at_work(first, done)

        predict(job, out, cluster, engine, progress=watch)
    assert made(out) == alone
    assert len(in_flight) == BLOCKS
    assert max(in_flight) <= 4  # two for each thread


def test_another_worker_may_come_when_all_are_gone(job, engine, alone, out):
    with machines() as these, connected(these.address) as cluster:
        first = these.add_worker()

        def replace(done, total):
            if done == 3:
                first.kill()
                these.add_worker()

        predict(job, out, cluster, engine, progress=replace)
    assert made(out) == alone


def test_without_workers_it_ends_and_the_same_call_goes_on(job, engine, alone, out):
    with machines() as these, connected(these.address, patience=2) as cluster:
        only = these.add_worker()
        with pytest.raises(
            WorkersGone, match=rf"{these.address}: there has been no worker for 2 s\..* dask worker tcp"
        ):
            predict(job, out, cluster, engine, progress=lambda done, total: done == 3 and only.kill())
        assert not out.exists()
        these.add_worker()
        lines = []
        predict(job, out, cluster, engine, say=lines.append)
    assert lines[0].startswith("Going on: ")
    assert made(out) == alone


def test_a_scheduler_that_ends_is_one_error(job, engine, out):
    with machines() as these, connected(these.address, timeout=1) as cluster:
        these.add_worker()
        with pytest.raises(SchedulerGone, match=f"{these.address}: lost the connection to the scheduler"):
            predict(job, out, cluster, engine, progress=lambda done, total: done == 3 and these.scheduler.kill())
    assert len(list(out.with_name("mask.tif.parts").glob("*.zip"))) >= 3


def test_a_block_whose_workers_end_is_given_up(job, engine, out):
    with (
        machines(DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0") as these,
        connected(these.address) as cluster,
    ):
        first, _ = these.add_worker(), these.add_worker()
        with pytest.raises(BlockEndsWorkers, match=r"row \d+, column \d+: 1 workers ended .* tcp://127\.0\.0\.1:\d+;"):
            predict(job, out, cluster, engine, progress=lambda done, total: kill_at_work(first, done))


def test_a_worker_without_this_package_is_one_error(job, engine, out, tmp_path):
    (tmp_path / "maskwright.py").write_text("raise ImportError('nothing here')")
    with machines() as these, connected(these.address) as cluster:
        these.add_worker(PYTHONPATH=str(tmp_path))
        with pytest.raises(WorkerUnfit, match=r"a worker there cannot predict .nothing here.; .*: maskwright \d"):
            predict(job, out, cluster, engine)


def test_threads_of_a_worker_share_its_engine_and_tell_its_memory(job, engine, alone, out, shared):
    lines = []
    with connected(shared.address) as cluster:
        predict(job, out, cluster, engine, say=lines.append)
    assert made(out) == alone
    assert re.search(r"about 0:00:\d\d and 0\.[1-9] GB of memory\.$", lines[1])


def test_a_worker_that_cannot_see_the_image_is_named(job, engine, out, shared, tmp_path):
    words = (
        rf"Worker tcp://127\.0\.0\.1:\d+ on {socket.gethostname()} cannot read the engine or the image; .*absent\.npy"
    )
    with connected(shared.address) as cluster, pytest.raises(WorkerCannotRead, match=words):
        predict(job, out, cluster, engine, image=tmp_path / "absent.npy")


def test_a_worker_that_cannot_see_the_engine_is_named(job, out, shared, tmp_path):
    with connected(shared.address) as cluster, pytest.raises(WorkerCannotRead, match=r"not a run: .* no such folder"):
        predict(job, out, cluster, tmp_path / "absent")


def test_a_worker_that_sees_another_image_is_told(job, engine, out, shared, tmp_path):
    np.save(tmp_path / "a.npy", noise(10, 10))
    words = r"Worker tcp://.* has image a\.npy 228-\d+, and image a\.npy 655488-\d+ is meant"
    with connected(shared.address) as cluster, pytest.raises(WorkerSeesOther, match=words):
        predict(job, out, cluster, engine, image=tmp_path / "a.npy")


def test_a_worker_that_sees_another_engine_is_told(job, out, shared, tmp_path):
    other = write_engine(tmp_path / "engine", bias=-20.0)
    with (
        connected(shared.address) as cluster,
        pytest.raises(WorkerSeesOther, match=r"has engine [0-9a-f]{64}, and engine [0-9a-f]{64} is"),
    ):
        predict(job, out, cluster, other)


def test_a_system_error_on_a_worker_names_it(monkeypatch):
    def unreachable(*_, **__):
        raise TimeoutError(110, "Connection timed out")  # of a network drive; not of waiting for the worker

    this = SimpleNamespace(address="tcp://10.0.0.7:1234", state=SimpleNamespace(nthreads=1))
    monkeypatch.setattr("distributed.get_worker", lambda: this)
    monkeypatch.setattr(dask_worker, "_predictor", unreachable)
    with pytest.raises(WorkerCannotRead, match=r"Worker tcp://10\.0\.0\.7:1234 on .* timed out"):
        dask_worker.predict_block(None, None)


def test_an_error_on_a_worker_is_the_error_here(engine, out, shared, tmp_path):
    pixels = np.full((2000, 100, 2), 255, np.uint8)
    pixels[10, 10, 1] = 7  # half transparent, in the second column of which alpha must be opaque
    np.save(tmp_path / "b.npy", pixels)
    broken = job_of(engine, tmp_path / "b.npy")
    with pytest.raises(WrongChannels) as here:
        predict_large(broken, out, overwrite=True)
    with connected(shared.address) as cluster, pytest.raises(WrongChannels) as there:
        predict(broken, out, cluster, engine, overwrite=True)
    assert str(there.value) == str(here.value)
    assert there.value.fields == here.value.fields


def test_other_versions_are_told_once(job, engine, out, shared, monkeypatch):
    monkeypatch.setattr(dask_blocks, "versions", lambda: {"openvino": "0.1"})
    lines = []
    with connected(shared.address, say=lines.append) as cluster:
        predict(job, out, cluster, engine)
    [line] = lines
    assert " has openvino 20" in line
    assert line.endswith(", this machine 0.1: results may differ.")


def test_workers_of_this_machine_are_gone_afterwards(job, engine, alone, out):
    with started(2) as cluster:
        address = cluster.client.scheduler_info()["address"]
        assert address.startswith("tls://")
        with pytest.raises(NoScheduler), connected(address, timeout=5):  # nobody without the keys
            pass
        processes = list(cluster.client.run(os.getpid).values())
        # The keyboard's interrupt reaches all processes: these leave it to this one.
        assert set(cluster.client.run(signal.getsignal, signal.SIGINT).values()) == {signal.SIG_IGN}
        predict(job, out, cluster, engine)
    assert made(out) == alone
    assert len(set(processes) - {os.getpid()}) == 2
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


INTERRUPTED = """
import os, signal, sys
from functools import partial
from pathlib import Path
from maskwright.inference.engines.engine import open_engine, weights_digest
from maskwright.inference.large.dask_cluster import started
from maskwright.inference.large.predict_large import LargeJob, predict_large

engine, image, out = map(Path, sys.argv[1:])
if __name__ == "__main__":
    job = LargeJob(open_engine(engine), weights_digest(engine), image, margin=32)
    with started(2) as cluster:
        print(*cluster.client.run(os.getpid).values(), flush=True)
        as_from_the_keyboard = lambda done, total: done == 3 and os.killpg(0, signal.SIGINT)
        predict_large(job, out, spread=partial(cluster.spread, engine, image), progress=as_from_the_keyboard)
"""


def test_interrupted_workers_go_without_a_word(engine, image, out, tmp_path):
    (tmp_path / "script.py").write_text(INTERRUPTED)
    command = [sys.executable, tmp_path / "script.py", engine, image, out]
    ended = subprocess.run(command, capture_output=True, text=True, start_new_session=True)
    assert ended.returncode == -signal.SIGINT
    assert ended.stderr.count("Traceback") == ended.stderr.count("KeyboardInterrupt") == 1
    for process in ended.stdout.split():
        with pytest.raises(ProcessLookupError):
            os.kill(int(process), 0)
    assert len(list(out.with_name("mask.tif.parts").glob("*.zip"))) >= 3


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("127.0.0.1", "missing port number"),
        ("nonsense://127.0.0.1:1", "unknown address scheme 'nonsense'"),
        ("tcp://127.0.0.1:port", "invalid literal"),
        ("", "missing port number"),
        ("tcp://127.0.0.1:1", "nothing for 0.5 s"),
    ],
)
def test_where_no_scheduler_is_the_address_is_named(address, found):
    with (
        pytest.raises(NoScheduler, match=f"^{address}: no Dask scheduler answers there .{found}.*tcp://HOST:PORT"),
        connected(address, timeout=0.5),
    ):
        pass


def test_what_takes_the_call_and_says_nothing_is_no_scheduler():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(NoScheduler, match=r"nothing for 0\.5 s"), connected(address, timeout=0.5):
            pass


def test_a_workers_address_is_no_schedulers(shared):
    with connected(shared.address) as cluster:
        [address] = cluster.client.nthreads()
    with pytest.raises(NoScheduler, match="it is a worker"), connected(address):
        pass


def test_some_workers_are_asked_for():
    with pytest.raises(WrongArgument, match="workers=0: expected 1 or more"), started(0):
        pass


def test_a_notebook_whose_loop_runs_can_ask(shared):
    async def cell():
        with connected(shared.address) as cluster:
            return cluster.client.scheduler_info()["type"]

    assert asyncio.run(cell()) == "Scheduler"


@pytest.mark.parametrize("package", ["distributed", "cryptography"])
def test_without_dask_the_extra_is_named(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackage, match=rf"{package}.*pip install 'maskwright\[cluster\]'"), started(1):
        pass
