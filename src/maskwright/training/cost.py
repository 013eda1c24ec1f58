"""Estimate the time and the memory needed for training on this machine before training starts."""

import os
import time
from dataclasses import dataclass

import keras

from maskwright.data.patches import Patches
from maskwright.inference.device import CPU
from maskwright.inference.framework_devices import current_device
from maskwright.training.count_work import step_work
from maskwright.training.memory import memory_bytes
from maskwright.training.progressive_resize import patch_size
from maskwright.training.recipe import TrainingRecipe
from maskwright.training.step_work import StepRates, StepWork


@dataclass(frozen=True)
class StepTimes:
    """Estimated seconds of training steps on this machine."""

    reduced: float
    """Seconds of a step with the smaller patches of progressive resizing, or with full patches if there are none."""
    full: float
    """Seconds of a step with patches of the full size."""
    tracing: float
    """Additional seconds of the first step."""
    pixel: float
    """Seconds that a step takes for each pixel of its batch, in addition to the time that all steps take."""
    reduced_fraction: float
    """Fraction of the time of the run in which patches are smaller."""

    @property
    def mean(self) -> float:
        """Mean seconds of all steps of a run."""
        fraction = self.reduced_fraction
        return 1 / (fraction / self.reduced + (1 - fraction) / self.full)

    def scaled(self, ratio: float) -> "StepTimes":
        """Return the times of steps that take ``ratio`` times as long, after the first step."""
        return StepTimes(ratio * self.reduced, ratio * self.full, 0.0, ratio * self.pixel, self.reduced_fraction)


@dataclass(frozen=True)
class Cost:
    """Estimated time and memory of training steps, and number of parameters of the network."""

    parameters: int
    memory_bytes: float
    """Peak memory of the whole process, in bytes."""
    times: StepTimes | None
    """Times of training steps; None if the speed of this machine has not been measured."""


def estimate_cost(
    network: keras.Model, training: TrainingRecipe, patches: Patches, *, rates: StepRates | None, cache_bytes: int
) -> Cost:
    """Estimate the cost of a training step of a network.

    The time is the sum over all kinds of operations (see `StepWork`) plus the time for preparing the patches, which is
    measured on one batch.

    Args:
        network: Compiled network in training.
        training: Training section of the recipe.
        patches: Batches of training patches.
        rates: Seconds that operations take on this machine; None if they are not known.
        cache_bytes: Size of the cache of images, in bytes.
    """
    full = step_work(network, patch=patches.patch_size, batch_size=patches.batch_size)
    return Cost(
        parameters=network.count_params(),
        memory_bytes=memory_bytes(
            network, patch=patches.patch_size, batch_size=patches.batch_size, cache_bytes=cache_bytes
        ),
        times=None if rates is None else _step_times(network, full, training, patches, rates),
    )


def _step_times(
    network: keras.Model, full: StepWork, training: TrainingRecipe, patches: Patches, rates: StepRates
) -> StepTimes:
    resize = training.progressive_resize
    small = patch_size(0.0, patch=patches.patch_size, resize=resize)
    height, width = patches.patch_size
    pixels = patches.batch_size * height * width
    work_of_small = step_work(network, patch=small, batch_size=patches.batch_size)
    constant = rates.step_seconds(StepWork(full.layers, full.parameters, orthogonalised=full.orthogonalised))
    return StepTimes(
        reduced=_with_patches(rates.step_seconds(work_of_small), _batch_seconds(patches, small)),
        full=_with_patches(rates.step_seconds(full), _batch_seconds(patches, patches.patch_size)),
        tracing=rates.tracing * full.layers,
        pixel=(rates.step_seconds(full) - constant) / pixels,
        reduced_fraction=0.0 if resize is None else resize.until,
    )


def _with_patches(step: float, batch: float) -> float:
    """Return the time of a step and of preparing a batch on one core, in seconds.

    An accelerator computes the step while the processor prepares the next batch. Otherwise, both need the processor.
    """
    return step + batch / (os.cpu_count() or 1) if current_device() == CPU else max(step, batch)


def _batch_seconds(patches: Patches, size: tuple[int, int]) -> float:
    """Return the time that preparing a batch takes on one core, in seconds."""
    patches.batch(0, size)  # reads the images
    start = time.perf_counter()
    patches.batch(0, size)
    return time.perf_counter() - start
