"""Doors to Dask workers: those of a scheduler that runs somewhere, or some that are started here."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final, final

from maskwright.errors import InputError, MissingPackage, missing_package, wrong_argument
from maskwright.inference.large.dask_blocks import Spread
from maskwright.inference.large.dask_worker import Task, dask_setup
from maskwright.inference.large.journal import Key

if TYPE_CHECKING:
    import distributed

PATIENCE: Final = 60.0
"""Seconds that are waited for a worker where there is none."""


class NoScheduler(InputError):
    """An address at which no scheduler answers."""

    text = (
        "{address}: no Dask scheduler answers there ({found}); expected what `dask scheduler` prints, tcp://HOST:PORT."
    )


@final
@dataclass(frozen=True)
class Cluster:
    """Workers that predict blocks of images; each opens the engine and the image by path."""

    client: "distributed.Client"
    patience: float
    say: Callable[[str], None]

    def spread(self, engine: Path, image: Path, key: Key) -> Spread:
        """The workers looking at an image, which leads them to the same ``key`` as here; for `predict_large`."""
        task = Task(engine.resolve(), image.resolve(), key)
        return Spread(self.client, task, patience=self.patience, say=self.say)


@contextmanager
def connected(
    address: str, *, timeout: float = 10, patience: float = PATIENCE, say: Callable[[str], None] = lambda line: None
) -> Iterator[Cluster]:
    """The workers of the scheduler at ``address``, as many as there are at each moment.

    Dask runs what its scheduler is sent: connect through trusted networks alone, or with TLS.

    Args:
        address: As ``dask scheduler`` prints it, like ``tcp://10.0.0.1:8786``.
        timeout: Seconds in which it has to answer.
        patience: Seconds to wait for a worker where there is none, at the start or later.
        say: Called with lines for the user.

    Raises:
        MissingPackage: The extra ``cluster`` is not installed.
        NoScheduler: Nothing answers there, or this is no address.
    """
    distributed = _import()
    try:
        with ThreadPoolExecutor(1) as thread:  # this one may have an event loop that runs, as notebooks do
            thread.submit(asyncio.run, _ask(address, timeout)).result()
    except TimeoutError:
        raise NoScheduler(address=address, found=f"nothing for {timeout:g} s") from None
    except Exception as error:  # what answers may be anything, and upset Dask in any way
        raise NoScheduler(address=address, found=" ".join(str(error).split())) from None
    with distributed.Client(address, timeout=timeout, set_as_default=False) as client:
        yield Cluster(client, patience, say)


@contextmanager
def started(
    workers: int, *, patience: float = PATIENCE, say: Callable[[str], None] = lambda line: None
) -> Iterator[Cluster]:
    """So many worker processes on this machine, of one thread each, until the block ends.

    They and this process talk by TLS with keys made for them alone: Dask runs what its scheduler is sent, and other
    users of the machine can reach its ports.

    From a script of one's own, call it under ``if __name__ == "__main__":``, as for all of Python's processes.

    Raises:
        MissingPackage: The extra ``cluster`` is not installed.
        WrongArgument: ``workers`` is not 1 or more.
    """
    if workers < 1:
        raise wrong_argument("workers", workers, expected="1 or more")
    distributed = _import()
    try:
        security = distributed.Security.temporary()
    except ImportError as error:
        raise _missing_dask(error) from None
    with (
        distributed.LocalCluster(
            security=security,
            n_workers=workers,
            threads_per_worker=1,
            memory_limit=0,  # Dask would hold a worker up, for ever, that needs more than its share
            dashboard_address="127.0.0.1:0",  # any free port: Dask leaves no way to have none
            silence_logs=logging.ERROR,
            preload=[dask_setup.__module__],
        ) as local,
        distributed.Client(local, set_as_default=False) as client,
    ):
        yield Cluster(client, patience, say)


async def _ask(address: str, timeout: float) -> None:
    """See that a scheduler answers: a `Client` that finds none complains for long after it has failed."""
    from distributed import Security
    from distributed.core import rpc

    security = Security().get_connection_args("client")
    async with asyncio.timeout(timeout), rpc(address, connection_args=security) as scheduler:
        kind = (await scheduler.identity())["type"]
    if kind != "Scheduler":
        raise ValueError(f"it is a {kind.lower()}")


def _import() -> ModuleType:
    try:
        import distributed
    except ImportError as error:
        raise _missing_dask(error) from None
    return distributed


def _missing_dask(error: ImportError) -> MissingPackage:
    packages = "distributed and cryptography"
    return missing_package("A Dask cluster", packages, install="maskwright[cluster]", reason=error)
