"""Inspect a training without running it: its plan, and the loss at rising learning rates."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from maskwright.training.assemble import build_networks, build_patches, plan_of, prepare_data
from maskwright.training.custom import NO_CUSTOM_PARTS, CustomParts, record_custom_parts
from maskwright.training.find_lr import DEFAULT_STEPS, LrCurve, lr_range_test
from maskwright.training.network import training_targets
from maskwright.training.prepare import ScanProgress
from maskwright.training.progressive_resize import patch_size
from maskwright.training.recipe import Recipe
from maskwright.training.reporter import Plan
from maskwright.training.run import Run
from maskwright.training.train_step import make_train_step


def explain(
    recipe: Recipe,
    out: str | Path,
    *,
    custom: CustomParts = NO_CUSTOM_PARTS,
    progress: ScanProgress | None = None,
) -> Plan:
    """Return the plan of a training: its settings, their reasons and its cost. Nothing is written or downloaded.

    Args:
        recipe: See `maskwright.training.train.train`.
        out: Folder that the plan names; it is not read.
        custom: See `maskwright.training.train.train`.
        progress: Called with the numbers of pairs read and of all pairs.

    Raises:
        UnusableData: The data has a fatal problem.
    """
    prepared, report = prepare_data(record_custom_parts(recipe, custom), progress=progress)
    networks = build_networks(prepared, custom, pretrained=False)
    patches = build_patches(prepared, custom)
    return plan_of(Run(Path(out)), prepared, networks, patches, report, warnings_file=None)


def find_lr(
    recipe: Recipe,
    *,
    custom: CustomParts = NO_CUSTOM_PARTS,
    steps: int = DEFAULT_STEPS,
    reading: ScanProgress | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> LrCurve:
    """Return the loss at rising learning rates in the training that ``recipe`` describes. Nothing is written.

    Args:
        recipe: See `maskwright.training.train.train`; patches have the size of the first step.
        custom: See `maskwright.training.train.train`.
        steps: Largest number of steps.
        reading: Called with the numbers of pairs read and of all pairs.
        progress: Called with the numbers of steps taken and of all steps.

    Raises:
        UnusableData: The data has a fatal problem.
    """
    prepared, _ = prepare_data(record_custom_parts(recipe, custom), progress=reading)
    network = build_networks(prepared, custom).training
    patches, training = build_patches(prepared, custom), prepared.recipe.training
    train_step = make_train_step(network)
    network.optimizer.encoder_lr_multiplier.assign(training.encoder_lr_multiplier)

    def step(images: Any, masks: Any) -> float:
        return train_step(images, training_targets(network, masks))

    def set_rate(rate: float) -> None:
        network.optimizer.learning_rate = rate

    size = patch_size(0.0, patch=patches.patch_size, resize=training.progressive_resize)
    with closing(patches.stream(0, size=lambda _: size)) as batches:
        return lr_range_test(step, set_rate, batches, steps=steps, progress=progress)
