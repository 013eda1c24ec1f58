"""Take training steps with the loss that is scheduled for each part of a run."""

from collections.abc import Mapping
from typing import Any, final

import keras

from maskwright.inference.bundle import Bundle
from maskwright.losses.catalogue import SORTING_LOSSES
from maskwright.training.network import compile_for_training
from maskwright.training.recipe import TrainingRecipe
from maskwright.training.train_step import make_train_step


@final
class TrainingSteps:
    """Take training steps of a compiled network, first with the normal loss and then with the final loss.

    A custom loss is used for the whole run.

    Args:
        network: Network in training, compiled with the loss of the recipe.
        recipe: Training settings, which define the losses and the start of the final loss.
        bundle: Bundle of the network, which describes the outputs.
    """

    def __init__(self, network: keras.Model, recipe: TrainingRecipe, bundle: Bundle) -> None:
        self._network = network
        self._recipe = recipe
        self._bundle = bundle
        self._final_loss = None if recipe.custom_loss else recipe.final_loss
        self._is_final = False
        self._step = make_train_step(network, fuse_loss=recipe.custom_loss is None and _can_fuse(recipe.loss))

    def __call__(self, images: Any, targets: Any) -> float:
        """Take a step on images (n, h, w, c) and their targets, and return the loss before the update."""
        return self._step(images, targets)

    def select_loss(self, progress: float) -> bool:
        """Select the loss that is scheduled at ``progress`` in [0, 1], which may be lower than at the previous step.

        Returns:
            Whether the final loss has just replaced the normal loss.
        """
        if self._final_loss is None or (progress >= self._final_loss.start) == self._is_final:
            return False
        self._is_final = not self._is_final
        loss = self._final_loss.loss if self._is_final else self._recipe.loss
        recipe = self._recipe.model_copy(update={"loss": loss})
        compile_for_training(self._network, recipe, self._bundle, optimizer=self._network.optimizer)
        self._step = make_train_step(self._network, fuse_loss=_can_fuse(loss))
        return self._is_final


def _can_fuse(loss: Mapping[str, float]) -> bool:
    """Return whether XLA compiles the loss quickly, which is not the case for losses that sort pixels."""
    return not SORTING_LOSSES & loss.keys()
