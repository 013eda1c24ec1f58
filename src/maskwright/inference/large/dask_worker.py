"""What runs on a Dask worker: a block of an image, by an engine opened once in each process."""

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
from maskwright.images.windows import open_source
from maskwright.inference.engines.engine import open_engine, weights_digest
from maskwright.inference.large.block_grid import Block
from maskwright.inference.large.block_predictor import Part, Predictor
from maskwright.inference.large.cost import peak_memory
from maskwright.inference.large.encoding import ENCODINGS
from maskwright.inference.large.journal import Key
from maskwright.inference.large.predict_large import LargeJob
from maskwright.inference.test_time_augmentation import viewed

_PACKAGES: Final = ("maskwright", "openvino", "onnxruntime", "tensorflow")
_OPENING: Final = Lock()  # threads of one worker open one engine, and not each its own


class WorkerCannotRead(InputError):
    """A worker to which the engine or the image does not open, or that cannot read on."""

    text = "Worker {worker} cannot read the engine or the image; each needs both, by the same paths as here. {found}"


class WorkerSeesOther(InputError):
    """A worker that has another engine, or another state of the image, under the same path."""

    text = "Worker {worker} has {found}, and {expected} is meant; give all machines the same files."


class Task(NamedTuple):
    """What a worker is to predict; the same for all blocks."""

    engine: Path
    image: Path
    key: Key
    """All that decides the result: what a worker opens must lead to the same."""


class Answer(NamedTuple):
    """A block, and by whom."""

    part: Part
    worker: str
    versions: dict[str, str]
    """Of the packages that decide results."""
    peak_memory: int | None
    """Bytes that the worker has held at most."""


@final
@dataclass(frozen=True)
class _Call:
    """A call that is made by unpickling it; what comes out is its answer."""

    task: Task
    block: Block

    def __reduce__(self) -> tuple[Callable[[Task, Block], Answer], tuple[Task, Block]]:
        return predict_block, (self.task, self.block)


def call(task: Task, block: Block) -> bytes:
    """`predict_block` of these, for ``pickle.loads`` to make on a worker.

    All that Dask sees is bytes: the scheduler needs nothing of this package, and a worker that has not got it says so,
    where a message that it cannot read would end it.
    """
    return pickle.dumps(_Call(task, block))


def dask_setup(_: object) -> None:
    """What Dask calls where a worker loads this module at its start: let whoever started it tell it to end.

    An interrupt from the keyboard reaches all processes of a command, and each would complain of it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def predict_block(task: Task, block: Block) -> Answer:
    """A block, predicted in a thread of a Dask worker.

    Raises:
        WorkerCannotRead, WorkerSeesOther: The engine or the image is not there, or not the one meant.
        WrongPixels, WrongChannels: The image is not of the kind the network was trained on.
    """
    from distributed import get_worker

    worker = get_worker()
    name = f"{worker.address} on {socket.gethostname()}"
    try:
        with _OPENING:
            predictor = _predictor(task, threads=worker.state.nthreads, name=name)
        return Answer(predictor.predict_block(block), name, versions(), peak_memory())
    except OSError as error:
        raise WorkerCannotRead(worker=name, found=error) from None


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Of the packages that decide results, as far as they are installed here."""
    found = {}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


@lru_cache(maxsize=2)  # two commands that share the workers do not open theirs anew for each block
def _predictor(task: Task, *, threads: int, name: str) -> Predictor:
    try:
        plain = open_engine(task.engine, threads=threads)
        engine = viewed(plain, plain.bundle.views)
        source = open_source(task.image)
        weights = weights_digest(task.engine)
    except InputError as error:
        raise WorkerCannotRead(worker=name, found=error) from None
    here = LargeJob(engine, weights, task.image, output=task.key.output, margin=task.key.margin).key()
    here = here.model_copy(update={"path": task.key.path})  # a disk may have other names here
    if here != task.key:
        found, expected = here.differences(task.key)
        raise WorkerSeesOther(worker=name, found=found, expected=expected)
    return Predictor(engine, source, ENCODINGS[task.key.output](engine.bundle), task.image)
