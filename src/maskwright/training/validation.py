"""Validate a network during training, and copy its weights to the inference model that is saved."""

from functools import cached_property
from typing import Any, Final, final

import keras
import numpy as np
from numpy.typing import NDArray

from maskwright.inference.engines.keras import KerasEngine
from maskwright.networks.auxiliary_outputs import mask_only
from maskwright.training.devices import is_distributed, on_one_device
from maskwright.training.evaluate import Evaluation
from maskwright.training.precise_bn import PreciseBatchNorm
from maskwright.training.setup import TrainingSetup

_SAMPLE_GRID: Final = 16  # approximate number of rows and of columns in the grid of sampled pixels


def sampled(probabilities: NDArray[np.float32]) -> list[float]:
    """Sample probabilities (n, h, w, classes) at the pixels of a coarse grid, and return them as a flat list."""
    rows, columns = (max(1, side // _SAMPLE_GRID) for side in probabilities.shape[1:3])
    return [float(value) for value in np.asarray(probabilities, np.float32)[:, ::rows, ::columns].ravel()]


@final
class Validation:
    """Validate the network in training, and copy its weights to the inference model.

    Masks are predicted for the validation images by the network in training, in the precision used for training. If
    training is distributed over several devices, the masks are predicted by the inference model on one device.

    Args:
        setup: Setup of the training run.
    """

    def __init__(self, setup: TrainingSetup) -> None:
        self._networks = setup.networks
        self._patches = setup.patches
        self._validation_set = setup.validation_set
        self._recipe = setup.recipe
        self._progress = setup.reporter.validating
        self._training_engine = KerasEngine(mask_only(setup.networks.training), setup.bundle)
        self._precise_bn = None if is_distributed() else PreciseBatchNorm(setup.networks.training)
        self._predicting_engine = None if is_distributed() else self._training_engine

    def __call__(self, images: int) -> tuple[float, Evaluation]:
        """Score the current weights on ``images`` validation images; return the monitored score and all scores."""
        if self._predicting_engine is None or self._precise_bn is None:
            with on_one_device():
                self._predicting_engine = KerasEngine(self._inference_model, self._training_engine.bundle)
                self._precise_bn = PreciseBatchNorm(self._inference_model)
        if self._predicting_engine is not self._training_engine:
            self._copy_weights()
        with on_one_device():
            self._precise_bn(map(self._patches.unaugmented, range(self._recipe.precise_bn_steps)))
            return self.score(self._predicting_engine, images)

    def score(self, engine: KerasEngine, images: int) -> tuple[float, Evaluation]:
        """Score an engine, and return the monitored score (0 if it is undefined) and all scores.

        Args:
            engine: Engine to score.
            images: Number of evenly spaced validation images to use.
        """
        evaluation = self._validation_set.evaluate(engine, images, progress=self._progress)
        return evaluation.score(self._recipe.monitor) or 0.0, evaluation

    def inference_model(self) -> keras.Model:
        """Return the inference model with the current weights and the statistics of the last validation."""
        if self._predicting_engine is None or self._predicting_engine is self._training_engine:
            self._copy_weights()
        return self._inference_model

    def sample(self, network: keras.Model) -> list[float]:
        """Return some probabilities that ``network`` predicts for one patch, by which the network can be identified
        later."""
        with on_one_device():
            return sampled(network.predict_on_batch(self._patches.unaugmented(0)[:1]))

    def columns(self, evaluation: Evaluation | None) -> dict[str, Any]:
        """Return the scores of an evaluation as columns of the history; without an evaluation, all values are None."""
        bundle = self._training_engine.bundle
        scores = evaluation.scores if evaluation else None
        columns = {
            "val_mean_iou": scores.mean_iou if scores else None,
            "val_dice": scores.mean_dice if scores else None,
            "val_pixel_accuracy": scores.pixel_accuracy if scores else None,
        }
        if bundle.activation == "sigmoid":
            columns["val_mean_precision"] = evaluation.mean_precision if evaluation else None
        by_class = {line.name: line.iou for line in scores.classes} if scores else {}
        columns |= {f"val_iou_{label.name}": by_class.get(label.name) for label in bundle.labels}
        return {name: None if value is None else round(value, 6) for name, value in columns.items()}

    @cached_property
    def _inference_model(self) -> keras.Model:
        with on_one_device():
            return self._networks.build_inference_model()

    def _copy_weights(self) -> None:
        # Layers without weights may be missing because they were replaced when the graph was rewritten.
        layers = {layer.name: layer for layer in self._training_engine.network.layers}
        order = [name for name in self._networks.layer_order if name in layers]
        self._inference_model.set_weights([weight for name in order for weight in layers[name].get_weights()])
