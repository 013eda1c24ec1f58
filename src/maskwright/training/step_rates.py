"""Measure how long each kind of operation of a training step takes on this machine, and cache the result.

Small networks that consist of one kind of layer are trained for a few steps. The times per operation are those that
fit the measured steps best, by non-negative least squares of the relative errors. The idea of a linear model of the
time of a step follows Qi et al., "Paleo: a performance model for deep neural networks" (ICLR 2017).
"""

import contextlib
import os
import platform
import re
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Final

import keras
import numpy as np

from maskwright.inference.cache_folder import cache_folder
from maskwright.inference.device import CPU
from maskwright.inference.framework_devices import current_device
from maskwright.inference.json_record import UnreadableRecord
from maskwright.rewrite.for_training import rewrite_for_training
from maskwright.training.count_work import step_work
from maskwright.training.muon import Muon
from maskwright.training.optimizer import FusedAdamW
from maskwright.training.precision import ComputePrecision, dtype_policy
from maskwright.training.step_work import StepRates, StepWork
from maskwright.training.train_step import TrainStep, make_train_step

_ROUNDS: Final = 2
_MIN_REPETITIONS: Final = 4
_MIN_SECONDS: Final = 0.15  # for all repetitions of one network in one round
_MAX_REPETITIONS: Final = 30

Layers = Callable[[keras.KerasTensor], keras.KerasTensor]


def rates_file(precision: ComputePrecision) -> Path:
    """Return the file in the user's cache folder for rates of this machine, backend and precision."""
    backend = keras.backend.backend()
    parts = (_device(), f"{os.cpu_count()}-cores", backend, version(_PACKAGES.get(backend, backend)), precision)
    return cache_folder() / "step-rates" / f"{re.sub(r'[^A-Za-z0-9.]+', '-', '-'.join(parts))}.json"


def cached_rates(precision: ComputePrecision) -> StepRates | None:
    """Return the rates that were measured earlier; None if there are none, or if they cannot be read."""
    with contextlib.suppress(UnreadableRecord):
        return StepRates.read_file(rates_file(precision))
    return None


def find_rates(precision: ComputePrecision) -> StepRates:
    """Return the cached rates, or measure them, which takes about ten seconds, and cache them."""
    if (rates := cached_rates(precision)) is not None:
        return rates
    rates, file = measure_rates(precision), rates_file(precision)
    with contextlib.suppress(OSError):  # without a cache, the rates are measured again
        file.parent.mkdir(parents=True, exist_ok=True)
        rates.write_file(file)
    return rates


def forget_rates(precision: ComputePrecision) -> None:
    """Delete the cached rates, so that they are measured again."""
    with contextlib.suppress(OSError):
        rates_file(precision).unlink(missing_ok=True)


def measure_rates(precision: ComputePrecision) -> StepRates:
    """Measure training steps of small networks, and fit the seconds of each kind of operation to them."""
    works, steps, tracing = [], [], []
    for optimizer, channels, (batch, side), layers in _PROBES:
        network = _probe(channels, layers, optimizer, precision)
        works.append(step_work(network, patch=(side, side), batch_size=batch))
        steps.append(partial(_step_seconds, make_train_step(network), (batch, side, side, channels)))
        tracing.append(steps[-1]() / len(network.layers))  # the first step includes tracing
    # Other programs may disturb one of the rounds, but seldom both.
    seconds = np.min([[_usual(step) for step in steps] for _ in range(_ROUNDS)], axis=0)
    return StepRates(**fit_rates(works, seconds.tolist())._asdict(), tracing=float(np.median(tracing)))


def fit_rates(works: list[StepWork], seconds: list[float]) -> StepWork:
    """Return the seconds per operation that fit the measured seconds of several kinds of work best.

    >>> works = [StepWork(layers=10, values=100), StepWork(layers=10, values=900), StepWork(layers=50, values=100)]
    >>> fitted = fit_rates(works, [0.002, 0.010, 0.006])
    >>> round(fitted.layers, 6), round(fitted.values, 6), fitted.depthwise
    (0.0001, 1e-05, 0.0)
    """
    from scipy.optimize import nnls  # only needed if the speed has not been stored yet

    relative = np.array(works, float) / np.array(seconds)[:, None]
    scale = np.maximum(relative.max(axis=0), np.finfo(float).tiny)
    fitted, _ = nnls(relative / scale, np.ones(len(works)))
    return StepWork(*(fitted / scale).tolist())


def _step_seconds(step: TrainStep, shape: tuple[int, int, int, int]) -> float:
    """Return the time of one training step on a batch of the given shape, in seconds."""
    images, targets = np.random.default_rng(0).random(shape, np.float32), np.zeros(shape[:3], np.uint8)
    start = time.perf_counter()
    step(images, targets)
    return time.perf_counter() - start


def _usual(step: Callable[[], float]) -> float:
    """Return the median time of several repetitions of a training step, in seconds."""
    seconds: list[float] = []
    while len(seconds) < _MIN_REPETITIONS or (sum(seconds) < _MIN_SECONDS and len(seconds) < _MAX_REPETITIONS):
        seconds.append(step())
    return median(seconds)


def _probe(channels: int, layers: Layers, optimizer: type[FusedAdamW], precision: ComputePrecision) -> keras.Model:
    with dtype_policy(precision):
        image = keras.Input((None, None, channels))
        network = rewrite_for_training(keras.Model(image, layers(image)))
    network.compile(optimizer=optimizer(1e-3, decay=1e-2, global_clipnorm=1.0), loss=_mean_output)
    network.optimizer.build(network.trainable_variables)
    return network


def _mean_output(y_true: object, y_pred: keras.KerasTensor) -> keras.KerasTensor:
    """Return the mean of the outputs, a loss whose gradient costs little."""
    del y_true
    return keras.ops.mean(keras.ops.cast(y_pred, "float32"))


def _convolutions(number: int, filters: int, size: int) -> Layers:
    def layers(x: keras.KerasTensor) -> keras.KerasTensor:
        for _ in range(number):
            x = keras.layers.Conv2D(filters, size, padding="same", use_bias=False)(x)
        return x

    return layers


def _depthwise(number: int, size: int) -> Layers:
    def layers(x: keras.KerasTensor) -> keras.KerasTensor:
        for _ in range(number):
            x = keras.layers.DepthwiseConv2D(size, padding="same", use_bias=False)(x)
        return x

    return layers


def _normalisations(number: int) -> Layers:
    def layers(x: keras.KerasTensor) -> keras.KerasTensor:
        for _ in range(number):
            x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
        return x

    return layers


# Optimizer, number of channels, batch size and side of the patches, and layers of each network that is measured.
_PROBES: Final[tuple[tuple[type[FusedAdamW], int, tuple[int, int], Layers], ...]] = (
    (FusedAdamW, 8, (2, 8), _convolutions(24, 8, 1)),
    (FusedAdamW, 8, (2, 8), _normalisations(12)),
    (FusedAdamW, 128, (4, 32), _convolutions(4, 128, 3)),
    (FusedAdamW, 32, (4, 96), _convolutions(4, 32, 3)),
    (FusedAdamW, 16, (4, 160), _convolutions(4, 16, 3)),
    (FusedAdamW, 64, (4, 64), _convolutions(6, 64, 1)),
    (FusedAdamW, 192, (4, 32), _convolutions(6, 192, 1)),
    (FusedAdamW, 96, (4, 64), _depthwise(4, 3)),
    (FusedAdamW, 192, (4, 32), _depthwise(4, 5)),
    (FusedAdamW, 64, (4, 96), _normalisations(6)),
    (FusedAdamW, 1024, (1, 1), _convolutions(4, 1024, 1)),
    (Muon, 256, (1, 1), _convolutions(4, 256, 3)),
)
_PACKAGES: Final = {"tensorflow": "keras"}  # the package of TensorFlow has several names


def _device() -> str:
    """Return the name of the processor, or of this machine and its accelerator if an accelerator computes."""
    if (device := current_device()) != CPU:
        return f"{platform.node()}-{device}"
    if platform.system() == "Linux":
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        if found := re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE):
            return found[1]
    return platform.processor() or platform.machine()
