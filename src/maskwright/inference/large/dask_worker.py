"""Compute the prediction for a block on a Dask worker with an engine that is opened once in each process."""

import pickle
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Lock
from typing import Final, NamedTuple, final

from maskwright.errors import InputError
from maskwright.images.windows.source import open_source
from maskwright.inference.device import Device
from maskwright.inference.engines.engine import open_engine, weights_digest
from maskwright.inference.large.block_predictor import BlockResult, LocalBlockPredictor
from maskwright.inference.large.cost import peak_memory
from maskwright.inference.large.encoding import ENCODINGS
from maskwright.inference.large.journal import ResultKey
from maskwright.inference.large.predict_large import LargePredictionJob
from maskwright.inference.test_time_augmentation import with_test_time_augmentation
from maskwright.inference.tiling.layout import ImageBlock
from maskwright.inference.tiling.window_predictor import WindowPredictor

_PACKAGES: Final = ("maskwright", "openvino", "onnxruntime", "onnxruntime-gpu", "tensorflow")
_OPENING: Final = Lock()  # the threads of a worker share one engine


class WorkerCannotRead(InputError):
    """A worker that cannot open or read the engine or the image."""

    text = "Worker {worker} cannot read the engine or the image; both must have the same paths on all machines. {found}"


class WorkerFilesDiffer(InputError):
    """A worker on which the path of the engine or the image refers to a different file."""

    text = "Worker {worker} has {found}, but {expected} is expected; use the same files on all machines."


class BlockTask(NamedTuple):
    """The files that a worker uses for prediction, which are the same for all blocks."""

    engine: Path
    image: Path
    key: ResultKey
    """Key of the values that determine the result; the files of the worker must have the same key."""
    device: Device | None = None
    """Device of the worker that computes; see `open_engine`."""


class WorkerResult(NamedTuple):
    """The result of a block and the worker that computed it."""

    block: BlockResult
    worker: str
    versions: dict[str, str]
    """Versions of the packages that affect results."""
    peak_memory: int | None
    """Peak memory of the worker in bytes."""


@final
@dataclass(frozen=True)
class _PickledCall:
    """A call of `predict_block` that is executed by unpickling; the unpickled object is its result."""

    task: BlockTask
    block: ImageBlock

    def __reduce__(self) -> tuple[Callable[[BlockTask, ImageBlock], WorkerResult], tuple[BlockTask, ImageBlock]]:
        return predict_block, (self.task, self.block)


def pickled_call(task: BlockTask, block: ImageBlock) -> bytes:
    """Return a pickled call of `predict_block`, which ``pickle.loads`` executes on a worker.

    Dask transports only bytes, so the scheduler does not need this package. A worker without it raises an error,
    whereas a message that it cannot unpickle would terminate it.
    """
    return pickle.dumps(_PickledCall(task, block))


def dask_setup(_: object) -> None:
    """Ignore SIGINT in a worker; Dask calls this function when a worker loads the module at startup.

    A keyboard interrupt reaches all processes of a command, and the main process then terminates its workers.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def predict_block(task: BlockTask, block: ImageBlock) -> WorkerResult:
    """Compute the prediction for a block in a thread of a Dask worker.

    Raises:
        WorkerCannotRead: The engine or the image cannot be opened or read.
        WorkerFilesDiffer: The engine or the image differs from that of the main process.
        WrongPixels, WrongChannels: The image has a data type or channels that the network does not accept.
    """
    from distributed import get_worker

    worker = get_worker()
    name = f"{worker.address} on {socket.gethostname()}"
    try:
        with _OPENING:
            predictor = _open_predictor(task, threads=worker.state.nthreads, name=name)
        return WorkerResult(predictor.predict_block(block), name, package_versions(), peak_memory())
    except OSError as error:
        raise WorkerCannotRead(worker=name, found=error) from None


@lru_cache(maxsize=1)
def package_versions() -> dict[str, str]:
    """Return the versions of the installed packages that affect results."""
    found = {}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


@lru_cache(maxsize=2)  # two commands that share the workers do not open their engines again for each block
def _open_predictor(task: BlockTask, *, threads: int, name: str) -> LocalBlockPredictor:
    try:
        plain = open_engine(task.engine, threads=threads, device=task.device)
        engine = with_test_time_augmentation(plain, plain.bundle.tta)
        source = open_source(task.image)
        weights = weights_digest(task.engine)
    except InputError as error:
        raise WorkerCannotRead(worker=name, found=error) from None
    key = LargePredictionJob(engine, weights, task.image, output=task.key.output, margin=task.key.margin).key()
    key = key.model_copy(update={"path": task.key.path})  # machines may mount a disk under different paths
    if key != task.key:
        found, expected = key.differences(task.key)
        raise WorkerFilesDiffer(worker=name, found=found, expected=expected)
    windows = WindowPredictor(engine, source, task.image)
    return LocalBlockPredictor(windows, ENCODINGS[task.key.output](engine.bundle))
