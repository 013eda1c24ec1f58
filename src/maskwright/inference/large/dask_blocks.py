"""Distribute the blocks of an image over Dask workers, which may connect and disconnect at any time."""

import pickle
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, TypeVar, final
from uuid import uuid4

from maskwright.errors import InputError
from maskwright.inference.large.block_predictor import BlockResult
from maskwright.inference.large.dask_worker import BlockTask, WorkerResult, package_versions, pickled_call
from maskwright.inference.tiling.layout import ImageBlock

if TYPE_CHECKING:
    from distributed import Client, Future

T = TypeVar("T")

_BLOCKS_PER_THREAD: Final = 2  # one in progress and one in the queue
_POLL_SECONDS: Final = 1.0  # interval between two counts of the connected workers


class WorkersGone(InputError):
    """A scheduler to which no worker has been connected for longer than the timeout."""

    text = (
        "{scheduler}: no worker has been connected for {seconds:g} s. Finished blocks are kept: start workers with "
        "dask worker {scheduler}, and run the same command again."
    )


class SchedulerGone(InputError):
    """A scheduler to which the connection was lost."""

    text = "{scheduler}: lost the connection to the scheduler. Finished blocks are kept: run the same command again."


class BlockEndsWorkers(InputError):
    """A block during whose prediction several workers terminated."""

    text = (
        "The block at row {row}, column {column}: {found} workers terminated while they predicted it, the last of them "
        "{worker}; see their logs. If they ran out of memory, start fewer on each machine."
    )


class WorkerUnfit(InputError):
    """A worker on which this package is missing or has another version."""

    text = "{scheduler}: a worker cannot predict ({found}); install the same packages on all machines: {expected}."


@final
class DaskBlocks:
    """A predictor for the blocks of one image that uses the workers of one scheduler and yields blocks in any order."""

    def __init__(
        self, client: "Client", task: BlockTask, *, worker_timeout: float, report: Callable[[str], None]
    ) -> None:
        self._client = client
        self._task = task
        self._worker_timeout = worker_timeout
        self._report = report
        self._threads = 0
        self._counted_at = 0.0
        self._reported: set[tuple[str, str]] = set()
        self._peak: int | None = None
        self._count_threads()

    @property
    def workers(self) -> int:
        """Number of workers that are currently connected."""
        return len(self._worker_threads())

    def peak_memory(self) -> int | None:
        """Return the largest peak memory, in bytes, of the workers that have returned blocks."""
        return self._peak

    def predict_blocks(self, blocks: Sequence[ImageBlock]) -> Iterator[tuple[ImageBlock, BlockResult]]:
        """Yield each block once with its result; the blocks of a terminated worker are assigned to others.

        Raises:
            WorkersGone: No worker was connected for a period longer than the timeout.
            SchedulerGone: The connection to the scheduler was lost.
            BlockEndsWorkers: Four workers terminated during the prediction of the same block.
            WorkerCannotRead, WorkerFilesDiffer, WorkerUnfit: A file or a package on a worker is missing or different.
            WrongPixels, WrongChannels: The image has a data type or channels that the network does not accept.
        """
        left = deque(blocks)
        submitted: dict[Future, ImageBlock] = {}
        finished: SimpleQueue[Future] = SimpleQueue()
        while left or submitted:
            if time.monotonic() - self._counted_at > _POLL_SECONDS:
                self._count_threads()
            while left and len(submitted) < _BLOCKS_PER_THREAD * max(self._threads, 1):
                block = left.popleft()
                key = f"block-{block.name}-{uuid4().hex}"  # unique, since Dask caches the result of a known key
                future = self._client.submit(pickle.loads, pickled_call(self._task, block), key=key)
                submitted[future] = block
                future.add_done_callback(finished.put)
            future = self._retry(lambda seconds: finished.get(timeout=seconds))
            block = submitted.pop(future)
            yield block, self._receive(future, block)

    def _receive(self, future: "Future", block: ImageBlock) -> BlockResult:
        result = self._retry(lambda seconds: self._result(future, block, seconds))
        if result.peak_memory:
            self._peak = max(self._peak or 0, result.peak_memory)
        for package, ours in package_versions().items():
            theirs = result.versions.get(package, ours)
            if theirs != ours and (package, theirs) not in self._reported:
                self._reported.add((package, theirs))
                self._report(f"Worker {result.worker} has {package} {theirs}, this machine {ours}: results may differ.")
        return result.block

    def _result(self, future: "Future", block: ImageBlock, seconds: float) -> WorkerResult:
        """Return the result of a worker; raise `TimeoutError` if it is pending, for example if a worker terminated."""
        from distributed import CancelledError, KilledWorker

        scheduler = self._scheduler
        try:
            return future.result(timeout=seconds)
        except CancelledError:
            raise SchedulerGone(scheduler=scheduler) from None
        except KilledWorker as error:
            found, worker = error.allowed_failures + 1, error.last_worker.address
            origin = {"row": block.rows.first, "column": block.columns.first}
            raise BlockEndsWorkers(**origin, found=found, worker=worker) from None
        except (ImportError, AttributeError) as error:
            expected = ", ".join(f"{package} {version}" for package, version in package_versions().items())
            raise WorkerUnfit(scheduler=scheduler, found=error, expected=expected) from None

    def _retry(self, attempt: Callable[[float], T]) -> T:
        """Repeat an attempt with a time limit until it succeeds, as long as workers are connected."""
        last_worker_at = time.monotonic()
        while True:
            try:
                return attempt(_POLL_SECONDS)
            except (TimeoutError, Empty):
                self._count_threads()
            if self._threads:
                last_worker_at = time.monotonic()
            elif time.monotonic() - last_worker_at > self._worker_timeout:
                raise WorkersGone(scheduler=self._scheduler, seconds=self._worker_timeout)

    def _count_threads(self) -> None:
        self._threads = sum(self._worker_threads().values())
        self._counted_at = time.monotonic()

    def _worker_threads(self) -> dict[str, int]:
        """Return the number of threads of each worker."""
        try:
            return dict(self._client.nthreads())
        except OSError:
            raise SchedulerGone(scheduler=self._scheduler) from None

    @property
    def _scheduler(self) -> str:
        return str(self._client.scheduler.address)
