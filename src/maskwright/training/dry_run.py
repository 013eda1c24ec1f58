"""Inspect a training run without starting it: return its plan, or measure the loss at increasing learning rates."""

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from maskwright.training.assemble import build_networks, build_patches, plan_of, prepare_data
from maskwright.training.custom import NO_CUSTOM_PARTS, CustomParts, record_custom_parts
from maskwright.training.devices import on_one_device
from maskwright.training.find_lr import DEFAULT_STEPS, LrCurve, lr_range_test
from maskwright.training.memory import fit_memory
from maskwright.training.network import training_targets
from maskwright.training.precision import choose_precision
from maskwright.training.prepare import ScanProgress
from maskwright.training.progressive_resize import patch_size
from maskwright.training.recipe import Recipe
from maskwright.training.reporter import Plan
from maskwright.training.run import Run
from maskwright.training.schedule import Stopwatch
from maskwright.training.step_rates import cached_rates, find_rates
from maskwright.training.train_step import make_train_step
from maskwright.training.tuner import Tuner, tuning_passes


def explain(
    recipe: Recipe,
    out: str | Path,
    *,
    custom: CustomParts = NO_CUSTOM_PARTS,
    progress: ScanProgress | None = None,
    started: float | None = None,
    tuner: Tuner | None = None,
) -> Plan:
    """Return the plan of a training run: its settings, the reasons for them, and its expected cost.

    Nothing is downloaded, and nothing is written except the speed of this machine, which is measured once and stored in
    the user's cache folder.

    Args:
        recipe: Settings for training.
        out: Folder of the run, which is named in the plan but not read.
        custom: Functions that replace parts of the recipe.
        progress: Function called with the number of pairs read and the total.
        started: Time at which the time budget starts, on the clock of `time.monotonic`. If absent, it starts with the
            call.
        tuner: Object that would tune the saved network; its time is part of the plan.

    Raises:
        UnusableData: The data has a fatal problem.
        NotEnoughMemory: Training needs more memory than the machine has.
    """
    with on_one_device():
        before = time.monotonic()
        rates = find_rates(choose_precision(recipe.training.precision))
        measuring = time.monotonic() - before  # in a training run, the speed is then known
    stopwatch = Stopwatch((before if started is None else started) + measuring)
    prepared, report = prepare_data(
        record_custom_parts(recipe, custom), rates=lambda: rates, progress=progress, download=False
    )
    networks = build_networks(prepared, custom, pretrained=False)
    prepared = fit_memory(prepared, networks.training)
    patches = build_patches(prepared, custom)
    return plan_of(
        Run(Path(out)),
        prepared,
        networks,
        patches,
        report,
        seconds=stopwatch.seconds(),
        rates=rates,
        tuning_passes=tuning_passes(tuner, prepared.recipe, len(prepared.validation)),
        warnings_file=None,
    )


def find_lr(
    recipe: Recipe,
    *,
    custom: CustomParts = NO_CUSTOM_PARTS,
    steps: int = DEFAULT_STEPS,
    reading: ScanProgress | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> LrCurve:
    """Train with ``recipe`` at increasing learning rates, and return the loss at each rate. Nothing is written.

    Args:
        recipe: Settings for training. All patches have the size that is used in the first training step.
        custom: Functions that replace parts of the recipe.
        steps: Maximum number of steps.
        reading: Function called with the number of pairs read and the total.
        progress: Function called with the number of steps taken and the total.

    Raises:
        UnusableData: The data has a fatal problem.
        NotEnoughMemory: Training needs more memory than the machine has.
    """
    prepared, _ = prepare_data(
        record_custom_parts(recipe, custom),
        rates=lambda: cached_rates(choose_precision(recipe.training.precision)),
        progress=reading,
    )
    network = build_networks(prepared, custom).training
    prepared = fit_memory(prepared, network)
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
