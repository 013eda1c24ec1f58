"""Data-parallel training on several devices of one or several processes, with Keras on JAX.

All processes run the same program and make the same decisions. Only the first process writes to the output folder; the
others write to temporary folders.
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import keras

from maskwright.errors import InputError
from maskwright.training.recipe import TrainingRecipe

_PROCESSES: Final = "KERAS_DISTRIBUTION_NUM_PROCESSES"
_PROCESS: Final = "KERAS_DISTRIBUTION_PROCESS_ID"


class UnusableDevices(InputError):
    """Raised if training cannot run on the given number of devices."""

    text = "training.devices={devices}: {found}; expected {expected}."


@dataclass(frozen=True)
class BatchShard:
    """Part of each batch that this process computes: shard ``index`` (from 0) of ``count`` shards."""

    index: int = 0
    count: int = 1

    def of(self, batch: Any) -> Any:
        """Return this shard of an array whose first axis is the batch axis.

        >>> BatchShard(1, 2).of([10, 11, 12, 13])
        [12, 13]
        """
        size = len(batch) // self.count
        return batch[self.index * size : (self.index + 1) * size]


def process_shard() -> BatchShard:
    """Return the shard that is computed by this process, as specified by environment variables of Keras."""
    count = int(os.environ.get(_PROCESSES, "1"))
    return BatchShard(int(os.environ.get(_PROCESS, "0")), count) if count > 1 else BatchShard()


@contextmanager
def distributed(training: TrainingRecipe, out: Path) -> Iterator[tuple[Path, BatchShard]]:
    """Distribute networks that are built within the context over ``training.devices`` devices.

    The context manager yields the folder that this process writes to, and the shard of each batch that it computes.

    Raises:
        UnusableDevices: There are too few devices, the backend is not JAX, or several processes have a time budget.
    """
    shard, devices = process_shard(), training.devices
    if devices == shard.count == 1:
        yield out, shard
        return
    if keras.backend.backend() != "jax":
        raise _unusable(devices, f"the backend is {keras.backend.backend()}", "KERAS_BACKEND=jax")
    if shard.count > 1:
        if training.epochs is None:
            raise _unusable(devices, "several processes with a time budget", "--epochs, which all processes share")
        keras.distribution.initialize()
        out = _folder_of_process(out, shard)
    found = keras.distribution.list_devices()
    if len(found) < devices or len(found) % shard.count:
        raise _unusable(devices, f"there are {len(found)} in {shard.count} processes", f"{devices} or more")
    if shard.count > 1 and devices != len(found):
        raise _unusable(devices, "several processes", f"all of their devices, {len(found)}")
    previous = keras.distribution.distribution()
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=found[:devices]))
    try:
        yield out, shard
    finally:
        keras.distribution.set_distribution(previous)


def is_distributed() -> bool:
    """Return whether new networks are distributed over several devices."""
    return keras.distribution.distribution() is not None


@contextmanager
def on_one_device() -> Iterator[None]:
    """Build and run networks on this process's first device within the context."""
    previous = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(previous)


def _folder_of_process(out: Path, shard: BatchShard) -> Path:
    """Return ``out`` for the first process; for other processes, return a copy that is made before any process
    writes."""
    from jax.experimental.multihost_utils import sync_global_devices

    if shard.index:
        temporary = Path(tempfile.mkdtemp(prefix="maskwright-"))
        atexit.register(shutil.rmtree, temporary, ignore_errors=True)
        if out.is_dir():
            shutil.copytree(out, temporary / out.name, ignore=shutil.ignore_patterns(".lock"))
        out = temporary / out.name
    sync_global_devices("maskwright: the run's folder was read")
    return out


def _unusable(devices: int, found: str, expected: str) -> UnusableDevices:
    return UnusableDevices(devices=devices, found=found, expected=expected)
