"""A thread pool with bounded memory that returns its results in the order of submission."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Generic, Self, TypeVar, final

from maskwright.inference.usable_cpus import usable_cpus

T = TypeVar("T")
R = TypeVar("R")

_MAX_THREADS: Final = 8


@final
class BoundedPool(Generic[R]):
    """A thread pool that limits the total cost of items that are waiting, running, or finished but not yet returned.

    The caller chooses the unit of cost. An item that costs more than the limit is processed alone. An exception in a
    thread is raised when the result of its item is requested. Leaving the ``with`` block cancels the items that no
    thread has started and waits for the others.

    >>> with BoundedPool(limit=3) as pool:
    ...     list(pool.ahead(len, ["one", "three", ""], cost=len))
    [3, 5, 0]
    """

    def __init__(self, *, limit: int, threads: int | None = None) -> None:
        self._limit = limit
        self._pool = ThreadPoolExecutor(threads or min(_MAX_THREADS, usable_cpus()))
        self._submitted: deque[tuple[int, Future[R]]] = deque()
        self._held = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def ahead(self, work: Callable[[T], R], items: Iterable[T], *, cost: Callable[[T], int]) -> Iterator[R]:
        """Yield ``work(item)`` for every item, in order, computing as many results ahead as the limit allows."""
        for item in items:
            yield from self.make_room(cost(item))
            self.submit(cost(item), work, item)
        yield from self.rest()

    def submit(self, cost: int, work: Callable[[T], R], item: T) -> None:
        """Start ``work(item)`` in a thread; call `make_room` first."""
        self._submitted.append((cost, self._pool.submit(work, item)))
        self._held += cost

    def make_room(self, cost: int) -> Iterator[R]:
        """Yield the oldest results, waiting for them, until an item of cost ``cost`` fits within the limit."""
        while self._submitted and self._held + cost > self._limit:
            yield self._take()

    def finished(self) -> Iterator[R]:
        """Yield the finished results that precede the first unfinished one, without waiting."""
        while self._submitted and self._submitted[0][1].done():
            yield self._take()

    def rest(self) -> Iterator[R]:
        """Yield all remaining results, waiting for them."""
        while self._submitted:
            yield self._take()

    def _take(self) -> R:
        cost, future = self._submitted.popleft()
        self._held -= cost
        return future.result()
