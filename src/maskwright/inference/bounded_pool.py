"""Threads that work ahead of whoever waits for them: a bounded amount at a time, results in the order asked for."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Generic, Self, TypeVar, final

from maskwright.inference.usable_cpus import usable_processors

T = TypeVar("T")
R = TypeVar("R")

_MOST_THREADS: Final = 8


@final
class Crew(Generic[R]):
    """A few threads with a limit on what they hold, waiting, worked on or worked out, in whatever unit costs have.

    Work that costs more than the limit is held alone. What a thread raises is raised where its result is taken. Leaving
    the ``with`` block drops what no thread has begun and waits for what one has.

    >>> with Crew(limit=3) as crew:
    ...     list(crew.ahead(len, ["one", "three", ""], cost=len))
    [3, 5, 0]
    """

    def __init__(self, *, limit: int, threads: int | None = None) -> None:
        self._limit = limit
        self._pool = ThreadPoolExecutor(threads or min(_MOST_THREADS, usable_processors()))
        self._asked: deque[tuple[int, Future[R]]] = deque()
        self._held = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def ahead(self, work: Callable[[T], R], items: Iterable[T], *, cost: Callable[[T], int]) -> Iterator[R]:
        """``work`` of every item, in order, begun for as many items beyond the one asked for as the limit allows."""
        for item in items:
            yield from self.room(cost(item))
            self.ask(cost(item), work, item)
        yield from self.rest()

    def ask(self, cost: int, work: Callable[[T], R], item: T) -> None:
        """Have ``work(item)`` done; make `room` before."""
        self._asked.append((cost, self._pool.submit(work, item)))
        self._held += cost

    def room(self, cost: int) -> Iterator[R]:
        """The oldest results, waited for until ``cost`` more keeps within the limit."""
        while self._asked and self._held + cost > self._limit:
            yield self._take()

    def ready(self) -> Iterator[R]:
        """The oldest results as far as they are there."""
        while self._asked and self._asked[0][1].done():
            yield self._take()

    def rest(self) -> Iterator[R]:
        """All results that are left, waited for."""
        while self._asked:
            yield self._take()

    def _take(self) -> R:
        cost, asked = self._asked.popleft()
        self._held -= cost
        return asked.result()
