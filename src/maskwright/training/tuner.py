"""Interface of the object that tunes a saved network at the end of training."""

from collections.abc import Callable
from typing import Protocol

from maskwright.inference.engines.engine import Engine
from maskwright.metrics.scores import Scores
from maskwright.training.recipe import Recipe
from maskwright.training.run import Run


class Tuner(Protocol):
    """Object that chooses how the probabilities of a network are converted to masks; implemented by `maskwright.tune`.

    `maskwright.tune` imports `maskwright.training`, so the object is passed to `maskwright.training.train.train`.
    """

    def passes(self, recipe: Recipe, images: int) -> float | None:
        """Return the cost of the additional predictions for tuning, as a multiple of predicting all images once.

        Args:
            recipe: Complete recipe of the run.
            images: Number of validation images.

        Returns:
            The cost, or None if there are too few images for tuning.
        """
        ...

    def tune(
        self,
        run: Run,
        engine: Engine,
        *,
        seconds_left: Callable[[], float] | None,
        progress: Callable[[int, int], None],
        report: Callable[[str], None],
    ) -> Scores:
        """Tune the network of a run on its validation images, and write its scores and its tuned bundle.

        Args:
            run: Run whose recipe, split and untuned bundle have been written.
            engine: Engine of the saved network.
            seconds_left: Function that returns the time left, in seconds; None if there is no limit.
            progress: Function called with the number of predicted images and the total.
            report: Function called with each message (str) for the user.

        Returns:
            The scores of the tuned network on all validation images.
        """
        ...


def tuning_passes(tuner: Tuner | None, recipe: Recipe, images: int) -> float | None:
    """Return the cost of the additional predictions for tuning, see `Tuner.passes`; None without tuning."""
    return tuner.passes(recipe, images) if tuner is not None and recipe.training.tune else None
