"""Tune a network at the end of its training run."""

from collections.abc import Callable
from typing import final

from maskwright.inference.engines.engine import Engine
from maskwright.inference.test_time_augmentation import relative_cost
from maskwright.metrics.scores import Scores
from maskwright.training.recipe import Recipe
from maskwright.training.run import Run
from maskwright.tune.halves import MIN_IMAGES
from maskwright.tune.options import transforms_to_try
from maskwright.tune.time_limit import TimeLimit
from maskwright.tune.tune_run import tune_run


@final
class TuningAfterTraining:
    """Tuning of the saved network of a run at the end of training; see `maskwright.training.tuner.Tuner`."""

    def passes(self, recipe: Recipe, images: int) -> float | None:
        """Return the cost of the additional predictions, as a multiple of predicting all ``images`` images once.

        Returns:
            The cost, or None if there are too few images for tuning.
        """
        if images < MIN_IMAGES:
            return None
        tried = {transform for transforms in transforms_to_try(recipe).values() for transform in transforms}
        return sum(map(relative_cost, tried))

    def tune(
        self,
        run: Run,
        engine: Engine,
        *,
        seconds_left: Callable[[], float] | None,
        progress: Callable[[int, int], None],
        report: Callable[[str], None],
    ) -> Scores:
        """Tune a run, report what was chosen, and return its scores; see `maskwright.tune.tune_run.tune_run`."""
        result, scores = tune_run(run, engine, limit=TimeLimit(seconds_left), progress=progress)
        for line in result.summary():
            report(line)
        return scores
