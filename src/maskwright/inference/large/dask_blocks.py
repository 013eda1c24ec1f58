"""The blocks of an image over Dask workers: a few asked for at a time, whatever becomes of the workers."""

import pickle
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, TypeVar, final
from uuid import uuid4

from maskwright.errors import InputError
from maskwright.inference.large.block_grid import Block
from maskwright.inference.large.block_predictor import Part
from maskwright.inference.large.dask_worker import Answer, Task, call, versions

if TYPE_CHECKING:
    from distributed import Client, Future

T = TypeVar("T")

_PER_THREAD: Final = 2  # blocks asked for: the one that is predicted, and one to go on with at once
_LOOK: Final = 1.0  # seconds from one look at who is there to the next


class WorkersGone(InputError):
    """No worker is connected to the scheduler, and none comes."""

    text = (
        "{scheduler}: there has been no worker for {seconds:g} s. What is finished is kept: start workers, "
        "dask worker {scheduler}, and give the same command again."
    )


class SchedulerGone(InputError):
    """The connection to the scheduler has ended."""

    text = "{scheduler}: lost the connection to the scheduler. What is finished is kept: give the same command again."


class BlockEndsWorkers(InputError):
    """A block that no worker survives."""

    text = (
        "The block at row {row}, column {column}: {found} workers ended while they predicted it, the last of them "
        "{worker}; their logs say why. Where they ran out of memory, start fewer on each machine."
    )


class WorkerUnfit(InputError):
    """A worker that has not got this package, or not this version of it."""

    text = "{scheduler}: a worker there cannot predict ({found}); install on all of them what is here: {expected}."


@final
class Spread:
    """One image on the workers of one scheduler: like a `Predictor`, but blocks come as they are finished."""

    def __init__(self, client: "Client", task: Task, *, patience: float, say: Callable[[str], None]) -> None:
        self._client = client
        self._task = task
        self._patience = patience
        self._say = say
        self._threads = 0
        self._looked = 0.0
        self._told: set[tuple[str, str]] = set()
        self._peak: int | None = None
        self._look()

    @property
    def workers(self) -> int:
        """How many there are at this moment."""
        return len(self._workers())

    def peak_memory(self) -> int | None:
        """Bytes that one worker has held at most, of those that have answered."""
        return self._peak

    def predict_blocks(self, blocks: Sequence[Block]) -> Iterator[tuple[Block, Part]]:
        """All blocks, each once; those that a worker has when it ends are given to others.

        Raises:
            WorkersGone: There was no worker for as long as one is waited for.
            SchedulerGone: There is no scheduler any more.
            BlockEndsWorkers: Four workers ended with the same block.
            WorkerCannotRead, WorkerSeesOther, WorkerUnfit: A worker has not what it needs.
            WrongPixels, WrongChannels: The image is not of the kind the network was trained on.
        """
        left = deque(blocks)
        asked: dict[Future, Block] = {}
        finished: SimpleQueue[Future] = SimpleQueue()
        while left or asked:
            if time.monotonic() - self._looked > _LOOK:
                self._look()
            while left and len(asked) < _PER_THREAD * max(self._threads, 1):
                block = left.popleft()
                key = f"block-{block.name}-{uuid4().hex}"  # its own: Dask would keep the answer to a known one
                future = self._client.submit(pickle.loads, call(self._task, block), key=key)
                asked[future] = block
                future.add_done_callback(finished.put)
            future = self._patiently(lambda seconds: finished.get(timeout=seconds))
            block = asked.pop(future)
            yield block, self._taken(future, block)

    def _taken(self, future: "Future", block: Block) -> Part:
        answer = self._patiently(lambda seconds: self._result(future, block, seconds))
        if answer.peak_memory:
            self._peak = max(self._peak or 0, answer.peak_memory)
        for package, ours in versions().items():
            theirs = answer.versions.get(package, ours)
            if theirs != ours and (package, theirs) not in self._told:
                self._told.add((package, theirs))
                self._say(f"Worker {answer.worker} has {package} {theirs}, this machine {ours}: results may differ.")
        return answer.part

    def _result(self, future: "Future", block: Block, seconds: float) -> Answer:
        """What a worker answered; `TimeoutError` where that is not here yet, as when the worker has just ended."""
        from distributed import CancelledError, KilledWorker

        scheduler = self._scheduler
        try:
            return future.result(timeout=seconds)
        except CancelledError:
            raise SchedulerGone(scheduler=scheduler) from None
        except KilledWorker as error:
            found, worker = error.allowed_failures + 1, error.last_worker.address
            place = {"row": block.rows.first, "column": block.columns.first}
            raise BlockEndsWorkers(**place, found=found, worker=worker) from None
        except (ImportError, AttributeError) as error:
            expected = ", ".join(f"{package} {version}" for package, version in versions().items())
            raise WorkerUnfit(scheduler=scheduler, found=error, expected=expected) from None

    def _patiently(self, attempt: Callable[[float], T]) -> T:
        """What an attempt of so many seconds gives, made again as long as there are workers."""
        seen = time.monotonic()
        while True:
            try:
                return attempt(_LOOK)
            except (TimeoutError, Empty):
                self._look()
            if self._threads:
                seen = time.monotonic()
            elif time.monotonic() - seen > self._patience:
                raise WorkersGone(scheduler=self._scheduler, seconds=self._patience)

    def _look(self) -> None:
        """See how many threads the workers have."""
        self._threads = sum(self._workers().values())
        self._looked = time.monotonic()

    def _workers(self) -> dict[str, int]:
        """Threads of each worker."""
        try:
            return dict(self._client.nthreads())
        except OSError:
            raise SchedulerGone(scheduler=self._scheduler) from None

    @property
    def _scheduler(self) -> str:
        return str(self._client.scheduler.address)
