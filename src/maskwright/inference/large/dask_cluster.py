"""Connect to the Dask workers of a running scheduler, or start workers on this machine."""

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
from maskwright.inference.device import Device
from maskwright.inference.large.dask_blocks import DaskBlocks
from maskwright.inference.large.dask_worker import BlockTask, dask_setup
from maskwright.inference.large.journal import ResultKey

if TYPE_CHECKING:
    import distributed

WORKER_TIMEOUT: Final = 60.0
"""Seconds to wait for a worker while none is connected."""


class NoScheduler(InputError):
    """An address at which no Dask scheduler answers."""

    text = "{address}: no Dask scheduler answers ({found}); expected the address that `dask scheduler` prints."


@final
@dataclass(frozen=True)
class Cluster:
    """Workers that compute predictions for blocks of images; each opens the engine and the image at their paths."""

    client: "distributed.Client"
    worker_timeout: float
    report: Callable[[str], None]

    def blocks(self, engine: Path, image: Path, key: ResultKey, *, device: Device | None = None) -> DaskBlocks:
        """Return a predictor that uses the workers.

        Each worker checks that its files have the given ``key``, and computes on its ``device``; see `open_engine`.
        """
        task = BlockTask(engine.resolve(), image.resolve(), key, device)
        return DaskBlocks(self.client, task, worker_timeout=self.worker_timeout, report=self.report)


@contextmanager
def connect(
    address: str,
    *,
    timeout: float = 10,
    worker_timeout: float = WORKER_TIMEOUT,
    report: Callable[[str], None] = lambda line: None,
) -> Iterator[Cluster]:
    """Connect to the scheduler at ``address`` and use all workers connected to it, including those that connect later.

    Dask executes any code it receives, so connect only over trusted networks or with TLS.

    Args:
        address: Address that ``dask scheduler`` prints, such as ``tcp://10.0.0.1:8786``.
        timeout: Seconds to wait for an answer from the scheduler.
        worker_timeout: Seconds to wait for a worker while none is connected, at the start or later.
        report: Function called with each message (str) for the user.

    Raises:
        MissingPackage: The packages of the extra ``cluster`` are not installed.
        NoScheduler: No scheduler answers at the address, or the address is invalid.
    """
    distributed = _import_distributed()
    try:
        with ThreadPoolExecutor(1) as thread:  # the calling thread may already run an event loop, as in notebooks
            thread.submit(asyncio.run, _check_scheduler(address, timeout)).result()
    except TimeoutError:
        raise NoScheduler(address=address, found=f"nothing for {timeout:g} s") from None
    except Exception as error:  # the answers of other servers can make Dask raise any error
        raise NoScheduler(address=address, found=" ".join(str(error).split())) from None
    with distributed.Client(address, timeout=timeout, set_as_default=False) as client:
        yield Cluster(client, worker_timeout, report)


@contextmanager
def start_workers(
    workers: int, *, worker_timeout: float = WORKER_TIMEOUT, report: Callable[[str], None] = lambda line: None
) -> Iterator[Cluster]:
    """Start single-threaded worker processes on this machine, which terminate at the end of the ``with`` block.

    The workers communicate with this process over TLS with temporary keys, because Dask executes any code it receives
    and other users of the machine can connect to its ports.

    In a script, call this function under ``if __name__ == "__main__":``, as the ``multiprocessing`` module requires.

    Raises:
        MissingPackage: The packages of the extra ``cluster`` are not installed.
        WrongArgument: ``workers`` is less than 1.
    """
    if workers < 1:
        raise wrong_argument("workers", workers, expected="1 or more")
    distributed = _import_distributed()
    try:
        security = distributed.Security.temporary()
    except ImportError as error:
        raise _missing_dask(error) from None
    with (
        distributed.LocalCluster(
            security=security,
            n_workers=workers,
            threads_per_worker=1,
            memory_limit=0,  # otherwise, Dask would permanently pause a worker that exceeds its share of the memory
            dashboard_address="127.0.0.1:0",  # any free port, since the dashboard of Dask cannot be disabled
            silence_logs=logging.ERROR,
            preload=[dask_setup.__module__],
        ) as local,
        distributed.Client(local, set_as_default=False) as client,
    ):
        yield Cluster(client, worker_timeout, report)


async def _check_scheduler(address: str, timeout: float) -> None:
    """Check that a scheduler answers, because a failed `Client` continues to log errors long after its failure."""
    from distributed import Security
    from distributed.core import rpc

    security = Security().get_connection_args("client")
    async with asyncio.timeout(timeout), rpc(address, connection_args=security) as scheduler:
        kind = (await scheduler.identity())["type"]
    if kind != "Scheduler":
        raise ValueError(f"it is a {kind.lower()}")


def _import_distributed() -> ModuleType:
    try:
        import distributed
    except ImportError as error:
        raise _missing_dask(error) from None
    return distributed


def _missing_dask(error: ImportError) -> MissingPackage:
    packages = "distributed and cryptography"
    return missing_package("A Dask cluster", packages, install="maskwright[cluster]", reason=error)
