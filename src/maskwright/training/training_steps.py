"""Training steps whose loss changes to the final loss towards the end of a run."""

from typing import Any, final

import keras

from maskwright.inference.bundle import Bundle
from maskwright.losses.catalogue import SORTING_LOSSES
from maskwright.training.network import compile_for_training
from maskwright.training.recipe import TrainingRecipe
from maskwright.training.train_step import make_train_step


@final
class TrainingSteps:
    """Steps of a compiled network; a custom loss is used to the end of the run.

    Args:
        network: The network in training, compiled with the recipe's loss.
        recipe: The losses, and when the final one begins.
        bundle: Description of the network's outputs.
    """

    def __init__(self, network: keras.Model, recipe: TrainingRecipe, bundle: Bundle) -> None:
        self._network = network
        self._recipe = recipe
        self._bundle = bundle
        self._final_loss = None if recipe.custom_loss else recipe.final_loss
        # XLA is slow to compile losses that sort.
        fuse = recipe.custom_loss is None and not SORTING_LOSSES & recipe.loss.keys()
        self._step = make_train_step(network, fuse_loss=fuse)

    def __call__(self, images: Any, targets: Any) -> float:
        """Take a step on images (n, h, w, c) and their targets; return the loss before the update."""
        return self._step(images, targets)

    def begin_final_loss(self, progress: float) -> bool:
        """Change to the final loss if it is due at ``progress`` in [0, 1]; return whether it changed."""
        if self._final_loss is None or progress < self._final_loss.start:
            return False
        loss, self._final_loss = self._final_loss.loss, None
        recipe = self._recipe.model_copy(update={"loss": loss})
        compile_for_training(self._network, recipe, self._bundle, optimizer=self._network.optimizer)
        self._step = make_train_step(self._network, fuse_loss=not SORTING_LOSSES & loss.keys())
        return True
