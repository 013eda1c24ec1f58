"""Verify that predictions of the saved network equal those of the trained network, then tune and score it."""

import os
import platform
import shlex
import sys
from importlib.metadata import version
from typing import Final

import keras
import numpy as np

from maskwright.errors import InputError
from maskwright.inference.engines.engine import open_engine
from maskwright.metrics.scores import Scores
from maskwright.training.devices import on_one_device
from maskwright.training.run_records import RunFacts
from maskwright.training.score_run import score_run
from maskwright.training.setup import TrainingSetup
from maskwright.training.trainer import Outcome
from maskwright.training.tuner import Tuner
from maskwright.training.validation import sampled

# Two float32 evaluations of one network agree up to rounding errors; a larger difference indicates another network.
_MAX_DIFFERENCE: Final = 1e-3  # largest accepted difference of a probability


class SavedIsNotTrained(InputError):
    """A saved network whose predictions differ from those of the trained network."""

    text = (
        "{run}: probabilities of the saved network differ from those of the trained network by up to "
        "{difference:.2g}. Do not use this run, and please report the error."
    )


def check_saved_network(setup: TrainingSetup, outcome: Outcome, *, tuner: Tuner | None = None) -> Scores:
    """Open the saved network as any later command does, tune it, and return its scores on all validation images.

    The predicted validation masks and the file ``scores.json`` are written to the run. An interrupted run is not tuned.

    Args:
        setup: Setup of the training run.
        outcome: Outcome of training, which contains some probabilities predicted by the trained network.
        tuner: Object that tunes the saved network. If absent, nothing is tuned.

    Raises:
        SavedIsNotTrained: The saved network's predictions differ from those of the trained network.
    """
    run = setup.run
    with on_one_device():
        engine = open_engine(run.folder)
        sample = sampled(engine(setup.patches.unaugmented(0)[:1]))
        difference = float(np.abs(np.subtract(sample, outcome.state.best_sample)).max())
        if not difference <= _MAX_DIFFERENCE:
            raise SavedIsNotTrained(run=run.folder, difference=difference)
        reporter = setup.reporter
        if tuner is None or outcome.stopped_by == "interrupt":
            return score_run(run, engine, progress=reporter.validating)
        deadline, stopwatch = outcome.tuning_deadline, setup.stopwatch
        seconds_left = None if deadline is None else lambda: deadline - stopwatch.seconds()
        return tuner.tune(run, engine, seconds_left=seconds_left, progress=reporter.validating, report=reporter.report)


def run_facts(setup: TrainingSetup, outcome: Outcome, scores: Scores) -> RunFacts:
    """Return the facts about a run that are written to ``run.json``."""
    state, backend = outcome.state, keras.backend.backend()
    images, all_images = state.validation_images, len(setup.validation_set.pairs)
    return RunFacts(
        command=shlex.join(["maskwright", *sys.argv[1:]]),
        stopped_by=outcome.stopped_by,
        seconds=round(setup.stopwatch.seconds(), 1),
        steps=state.step,
        best_step=state.best_step,
        nan_recoveries=tuple(state.nan_recoveries),
        intermediate_validation=f"{images} of {all_images} images" if images < all_images else None,
        validation_mean_iou=scores.mean_iou,
        validation_pixel_accuracy=scores.pixel_accuracy,
        parameters=setup.networks.training.count_params(),
        precision=setup.networks.precision,
        backend=backend,
        versions={
            "maskwright": version("maskwright"),
            "keras": keras.__version__,
            backend: sys.modules[backend].__version__,
            "python": platform.python_version(),
        },
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    )
