"""One training on several devices, of one process or of several: each computes a part of every batch, by Keras on JAX.

All processes run the same program and take the same decisions; the first one alone writes where it was told to, the
others into folders of their own that go when they end.
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
    """Devices that a training cannot be shared out to."""

    text = "training.devices={devices}: {found}; expected {expected}."


@dataclass(frozen=True)
class Part:
    """Which part of each batch this process cuts for its devices: number ``index``, from 0, of ``number``."""

    index: int = 0
    number: int = 1

    def of(self, batch: Any) -> Any:
        """That part of arrays whose first axis is the batch.

        >>> Part(1, 2).of([10, 11, 12, 13])
        [12, 13]
        """
        share = len(batch) // self.number
        return batch[self.index * share : (self.index + 1) * share]


def processes() -> Part:
    """This process among those that its environment tells of, by the variables that Keras names."""
    number = int(os.environ.get(_PROCESSES, "1"))
    return Part(int(os.environ.get(_PROCESS, "0")), number) if number > 1 else Part()


@contextmanager
def shared_out(training: TrainingRecipe, out: Path) -> Iterator[tuple[Path, Part]]:
    """Let networks that are built meanwhile live on ``training.devices`` devices; the folder to write to, and the part.

    Raises:
        UnusableDevices: There are not as many, the backend is not JAX, or several processes have only a clock.
    """
    part, devices = processes(), training.devices
    if devices == part.number == 1:
        yield out, part
        return
    if keras.backend.backend() != "jax":
        raise _unusable(devices, f"the backend is {keras.backend.backend()}", "KERAS_BACKEND=jax")
    if part.number > 1:
        if training.epochs is None:
            raise _unusable(devices, "several processes by the clock", "--epochs, which is the same in all of them")
        keras.distribution.initialize()
        out = _copy_for_one(out, part)
    found = keras.distribution.list_devices()
    if len(found) < devices or len(found) % part.number:
        raise _unusable(devices, f"there are {len(found)} in {part.number} processes", f"{devices} or more")
    if part.number > 1 and devices != len(found):
        raise _unusable(devices, "several processes", f"all of their devices, {len(found)}")
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=found[:devices]))
    try:
        yield out, part
    finally:
        keras.distribution.set_distribution(before)


def is_shared_out() -> bool:
    """Whether networks live on several devices."""
    return keras.distribution.distribution() is not None


@contextmanager
def on_one_device() -> Iterator[None]:
    """Let networks that are built and run meanwhile live on this process's first device."""
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)


def _copy_for_one(out: Path, part: Part) -> Path:
    """The first process's own folder; for others a copy of what is there before any process writes."""
    from jax.experimental.multihost_utils import sync_global_devices

    if part.index:
        own = Path(tempfile.mkdtemp(prefix="maskwright-"))
        atexit.register(shutil.rmtree, own, ignore_errors=True)
        if out.is_dir():
            shutil.copytree(out, own / out.name, ignore=shutil.ignore_patterns(".lock"))
        out = own / out.name
    sync_global_devices("maskwright: the run's folder was read")
    return out


def _unusable(devices: int, found: str, expected: str) -> UnusableDevices:
    return UnusableDevices(devices=devices, found=found, expected=expected)
