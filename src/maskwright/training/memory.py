"""Estimate the memory that training needs, and choose a batch that fits into the memory of this machine."""

from dataclasses import replace
from typing import Final

import keras

from maskwright.errors import InputError
from maskwright.training.count_work import step_work
from maskwright.training.plan import GIVEN, Decision
from maskwright.training.prepare import Prepared, machine_memory

_COPIES_OF_WEIGHTS: Final = 4  # float32 weights, gradients and at most two optimizer variables per weight
_FRAMEWORK_BYTES: Final = 1.0e9
_USABLE_FRACTION: Final = 0.9  # of the memory of the machine


class NotEnoughMemory(InputError):
    """Raised if training needs more memory than the machine has."""

    text = (
        "Training needs about {needed:.1f} GB of memory with a batch of {batch} patches of {height} x {width} pixels, "
        "and this machine has {available:.1f} GB. Set a smaller training.batch_size, a smaller training.patch_size, or "
        "a smaller network.backbone."
    )


def memory_bytes(network: keras.Model, *, patch: tuple[int, int], batch_size: int, cache_bytes: int) -> float:
    """Estimate the largest memory of the whole process during training, in bytes.

    It is the sum of layer outputs, weights, optimizer variables, cached images and the framework.

    Args:
        network: Network in training.
        patch: Height and width of the patches, in pixels.
        batch_size: Number of patches in a batch.
        cache_bytes: Size of the cache of images, in bytes.
    """
    work = step_work(network, patch=patch, batch_size=batch_size)
    compute = keras.dtype_policies.get(network.layers[1].dtype_policy).compute_dtype
    outputs = (work.values + work.convolved) * (2 if compute == "bfloat16" else 4)
    weights = network.count_params() * 4 * _COPIES_OF_WEIGHTS
    return outputs + weights + cache_bytes + _FRAMEWORK_BYTES


def fit_memory(prepared: Prepared, network: keras.Model, *, available: float | None = None) -> Prepared:
    """Return the prepared data with a batch size that fits into memory; a given batch size is not changed.

    Args:
        prepared: Prepared data and complete recipe.
        network: Network in training.
        available: Memory of the machine in bytes; by default, it is read from the system.

    Raises:
        NotEnoughMemory: Training needs more memory than the machine has, even with the smallest batch.
    """
    training, available = prepared.recipe.training, machine_memory() if available is None else available
    patch, batch = training.patch_size, training.batch_size
    if patch is None:
        return prepared

    def needed(batch_size: int) -> float:
        return memory_bytes(network, patch=patch, batch_size=batch_size, cache_bytes=prepared.cache_bytes)

    is_given = any(choice.field == "training.batch_size" and choice.reason == GIVEN for choice in prepared.decisions)
    while needed(batch) > _USABLE_FRACTION * available:
        smaller = batch // 2 - batch // 2 % training.devices
        if is_given or not smaller:
            raise NotEnoughMemory(
                needed=needed(batch) / 1e9, batch=batch, height=patch[0], width=patch[1], available=available / 1e9
            )
        batch = smaller
    if batch == training.batch_size:
        return prepared
    reason = f"{training.batch_size} patches need {needed(training.batch_size) / 1e9:.0f} GB of memory"
    decisions = tuple(
        Decision(choice.field, batch, reason) if choice.field == "training.batch_size" else choice
        for choice in prepared.decisions
    )
    return replace(prepared, recipe=prepared.recipe.changed("training", batch_size=batch), decisions=decisions)
