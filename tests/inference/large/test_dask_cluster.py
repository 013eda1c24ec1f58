"""Predict blocks on Dask workers: the result equals that of one process, or the command fails with one error."""

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
import tifffile

from maskwright.errors import MissingPackage, WrongArgument
from maskwright.images.errors import WrongChannels
from maskwright.inference.engines.engine import open_engine, weights_digest
from maskwright.inference.large.predict_large import LargePredictionJob, predict_large
from maskwright.inference.predict_image import predict_indices

pytest.importorskip("distributed", reason="needs the extra cluster")
pytest.importorskip("openvino", reason="needs an engine that several processes open")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are stopped and killed by signals")

from maskwright.inference.large import dask_blocks, dask_worker  # noqa: E402
from maskwright.inference.large.dask_blocks import BlockEndsWorkers, SchedulerGone, WorkersGone, WorkerUnfit  # noqa: E402
from maskwright.inference.large.dask_cluster import NoScheduler, connect, start_workers  # noqa: E402
from maskwright.inference.large.dask_worker import WorkerCannotRead, WorkerFilesDiffer  # noqa: E402
from tests.inference.box_engine import noise  # noqa: E402
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
    np.save(path, noise(1024 * BLOCKS, 128))
    return path


@pytest.fixture(scope="module")
def expected(job, tmp_path_factory):
    """The bytes of the result and its record, predicted in this process."""
    folder = tmp_path_factory.mktemp("expected")
    predict_large(job, folder / "mask.tif")
    record = (folder / "mask.tif.json").read_bytes()
    return (folder / "mask.tif").read_bytes(), record


@pytest.fixture(scope="module")
def job(engine, image):
    return job_of(engine, image)


def job_of(engine, image):
    return LargePredictionJob(open_engine(engine), weights_digest(engine), image, margin=32)


def predict(job, out, cluster, engine, *, image=None, **options):
    return predict_large(job, out, distribute=partial(cluster.blocks, engine, image or job.image), **options)


def written(out):
    return out.read_bytes(), out.with_name(f"{out.name}.json").read_bytes()


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out" / "mask.tif"


@pytest.fixture(scope="module")
def shared():
    """A scheduler with one worker of two threads, which keeps running."""
    with machines() as processes:
        processes.add_worker(threads=2)
        yield processes


def kill_while_predicting(worker, done):
    """Stop a worker, which keeps its blocks; kill it when all other blocks are finished."""
    if done == 1:
        worker.send_signal(signal.SIGSTOP)
    if done == BLOCKS - 4:
        worker.kill()


def test_the_blocks_of_a_killed_worker_go_to_others(job, engine, expected, out):
    with machines() as processes, connect(processes.address) as cluster:
        first, _ = processes.add_worker(), processes.add_worker()
        in_flight = []

        def watch(done, total):
            in_flight.append(len(cluster.client.futures))
            kill_while_predicting(first, done)

        predict(job, out, cluster, engine, progress=watch)
    assert written(out) == expected
    assert len(in_flight) == BLOCKS
    assert max(in_flight) <= 4  # two per thread


def test_a_new_worker_replaces_a_killed_one(job, engine, expected, out):
    with machines() as processes, connect(processes.address) as cluster:
        first = processes.add_worker()

        def replace(done, total):
            if done == 3:
                first.kill()
                processes.add_worker()

        predict(job, out, cluster, engine, progress=replace)
    assert written(out) == expected


def test_without_workers_the_job_ends_and_the_same_call_resumes(job, engine, expected, out):
    with machines() as processes, connect(processes.address, worker_timeout=2) as cluster:
        only = processes.add_worker()
        with pytest.raises(WorkersGone, match=rf"{processes.address}: .* 2 s\..* dask worker tcp"):
            predict(job, out, cluster, engine, progress=lambda done, total: done == 3 and only.kill())
        assert not out.exists()
        processes.add_worker()
        lines = []
        predict(job, out, cluster, engine, report=lines.append)
    assert lines[0].startswith("Resuming: ")
    assert written(out) == expected


def test_a_scheduler_that_ends_is_one_error(job, engine, out):
    with machines() as processes, connect(processes.address, timeout=1) as cluster:
        processes.add_worker()
        with pytest.raises(SchedulerGone, match=f"{processes.address}: lost the connection"):
            predict(job, out, cluster, engine, progress=lambda done, total: done == 3 and processes.scheduler.kill())
    assert len(list(out.with_name("mask.tif.parts").glob("*.zip"))) >= 3


def test_a_block_that_ends_its_workers_is_an_error(job, engine, out):
    with (
        machines(DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0") as processes,
        connect(processes.address) as cluster,
    ):
        first, _ = processes.add_worker(), processes.add_worker()
        with pytest.raises(
            BlockEndsWorkers, match=r"row \d+, column \d+: 1 workers terminated .* tcp://127\.0\.0\.1:\d+;"
        ):
            predict(job, out, cluster, engine, progress=lambda done, total: kill_while_predicting(first, done))


def test_a_worker_without_this_package_is_one_error(job, engine, out, tmp_path):
    (tmp_path / "maskwright.py").write_text("raise ImportError('nothing here')")
    with machines() as processes, connect(processes.address) as cluster:
        processes.add_worker(PYTHONPATH=str(tmp_path))
        with pytest.raises(WorkerUnfit, match=r"nothing here.*maskwright \d"):
            predict(job, out, cluster, engine)


def test_the_threads_of_a_worker_share_its_engine(job, engine, expected, out, shared):
    lines = []
    with connect(shared.address) as cluster:
        predict(job, out, cluster, engine, report=lines.append)
    assert written(out) == expected
    assert re.search(r"about 0:00:\d\d and 0\.[1-9] GB of memory\.$", lines[1])


def test_holes_and_small_components_are_removed_across_blocks(image, job, expected, out, shared, tmp_path):
    engine = write_engine(tmp_path / "engine", fill_holes=True, min_component_sizes=(0, 60))
    cleaned = job_of(engine, image)
    with connect(shared.address) as cluster:
        predict(cleaned, out, cluster, engine)
    predict_large(cleaned, tmp_path / "mask.tif")
    assert written(out) == written(tmp_path / "mask.tif")
    pixels = np.load(image)[..., None]
    values = cleaned.engine.bundle.values(predict_indices(cleaned.engine, pixels, margin=32))
    np.testing.assert_array_equal(tifffile.imread(out), values)
    assert written(out)[0] != expected[0]


def test_a_worker_without_the_image_is_named(job, engine, out, shared, tmp_path):
    text = rf"Worker tcp://127\.0\.0\.1:\d+ on {socket.gethostname()} .*absent\.npy"
    with connect(shared.address) as cluster, pytest.raises(WorkerCannotRead, match=text):
        predict(job, out, cluster, engine, image=tmp_path / "absent.npy")


def test_a_worker_without_the_engine_is_an_error(job, out, shared, tmp_path):
    with connect(shared.address) as cluster, pytest.raises(WorkerCannotRead, match=r"absent"):
        predict(job, out, cluster, tmp_path / "absent")


def test_a_worker_with_another_image_is_an_error(job, engine, out, shared, tmp_path):
    np.save(tmp_path / "a.npy", noise(10, 10))
    text = r"Worker tcp://.* image a\.npy 228-\d+, .*image a\.npy 1310848-\d+"
    with connect(shared.address) as cluster, pytest.raises(WorkerFilesDiffer, match=text):
        predict(job, out, cluster, engine, image=tmp_path / "a.npy")


def test_a_worker_with_another_engine_is_an_error(job, out, shared, tmp_path):
    other = write_engine(tmp_path / "engine", bias=-20.0)
    with (
        connect(shared.address) as cluster,
        pytest.raises(WorkerFilesDiffer, match=r"engine [0-9a-f]{64}, .*engine [0-9a-f]{64} "),
    ):
        predict(job, out, cluster, other)


def test_a_system_error_on_a_worker_names_it(monkeypatch):
    def unreachable(*_, **__):
        raise TimeoutError(110, "Connection timed out")  # as of a network drive

    worker = SimpleNamespace(address="tcp://10.0.0.7:1234", state=SimpleNamespace(nthreads=1))
    monkeypatch.setattr("distributed.get_worker", lambda: worker)
    monkeypatch.setattr(dask_worker, "_open_predictor", unreachable)
    with pytest.raises(WorkerCannotRead, match=r"Worker tcp://10\.0\.0\.7:1234 on .* timed out"):
        dask_worker.predict_block(None, None)


def test_an_error_on_a_worker_is_raised_in_this_process(engine, out, shared, tmp_path):
    pixels = np.full((2000, 100, 2), 255, np.uint8)
    pixels[10, 10, 1] = 7  # half transparent
    np.save(tmp_path / "b.npy", pixels)
    broken = job_of(engine, tmp_path / "b.npy")
    with pytest.raises(WrongChannels) as local:
        predict_large(broken, out, overwrite=True)
    with connect(shared.address) as cluster, pytest.raises(WrongChannels) as remote:
        predict(broken, out, cluster, engine, overwrite=True)
    assert str(remote.value) == str(local.value)
    assert remote.value.fields == local.value.fields


def test_other_versions_are_reported_once(job, engine, out, shared, monkeypatch):
    monkeypatch.setattr(dask_blocks, "package_versions", lambda: {"openvino": "0.1"})
    lines = []
    with connect(shared.address, report=lines.append) as cluster:
        predict(job, out, cluster, engine)
    [line] = lines
    assert " has openvino 20" in line
    assert "this machine 0.1" in line


def test_local_workers_end_with_the_block(job, engine, expected, out):
    with start_workers(2) as cluster:
        address = cluster.client.scheduler_info()["address"]
        assert address.startswith("tls://")
        with pytest.raises(NoScheduler), connect(address, timeout=5):  # the keys are required
            pass
        processes = list(cluster.client.run(os.getpid).values())
        # An interrupt from the keyboard reaches all processes; the workers ignore it.
        assert set(cluster.client.run(signal.getsignal, signal.SIGINT).values()) == {signal.SIG_IGN}
        predict(job, out, cluster, engine)
    assert written(out) == expected
    assert len(set(processes) - {os.getpid()}) == 2
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


INTERRUPTED = """
import os, signal, sys
from functools import partial
from pathlib import Path
from maskwright.inference.engines.engine import open_engine, weights_digest
from maskwright.inference.large.dask_cluster import start_workers
from maskwright.inference.large.predict_large import LargePredictionJob, predict_large

engine, image, out = map(Path, sys.argv[1:])
if __name__ == "__main__":
    job = LargePredictionJob(open_engine(engine), weights_digest(engine), image, margin=32)
    with start_workers(2) as cluster:
        print(*cluster.client.run(os.getpid).values(), flush=True)
        interrupt = lambda done, total: done == 3 and os.killpg(0, signal.SIGINT)
        predict_large(job, out, distribute=partial(cluster.blocks, engine, image), progress=interrupt)
"""


def test_interrupted_workers_end_without_a_traceback(engine, image, out, tmp_path):
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
def test_an_address_without_a_scheduler_is_named(address, found):
    with (
        pytest.raises(NoScheduler, match=f"^{address}: .*{found}.*dask scheduler"),
        connect(address, timeout=0.5),
    ):
        pass


def test_a_silent_server_is_not_a_scheduler():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(NoScheduler, match=r"nothing for 0\.5 s"), connect(address, timeout=0.5):
            pass


def test_a_worker_is_not_a_scheduler(shared):
    with connect(shared.address) as cluster:
        [address] = cluster.client.nthreads()
    with pytest.raises(NoScheduler, match="it is a worker"), connect(address):
        pass


def test_the_number_of_workers_is_at_least_1():
    with pytest.raises(WrongArgument, match="workers=0: expected 1 or more"), start_workers(0):
        pass


def test_connecting_works_inside_a_running_event_loop(shared):
    async def cell():
        with connect(shared.address) as cluster:
            return cluster.client.scheduler_info()["type"]

    assert asyncio.run(cell()) == "Scheduler"


@pytest.mark.parametrize("package", ["distributed", "cryptography"])
def test_without_dask_the_extra_is_named(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackage, match=rf"{package}.*pip install 'maskwright\[cluster\]'"), start_workers(1):
        pass
