"""What a training measures on its way, on the validation images, and the network that it saves."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final, Literal, final

import keras
import numpy as np
from numpy.typing import NDArray

from maskwright.data.patches import Patches
from maskwright.inference.bundle import Bundle
from maskwright.inference.engines.keras import KerasEngine
from maskwright.networks.auxiliary_outputs import mask_only
from maskwright.training.devices import is_shared_out, on_one_device
from maskwright.training.evaluate import Evaluation
from maskwright.training.precise_bn import Recalibration

_ANSWERS: Final = 16  # rows and columns of pixels in an answer


def thinned(probabilities: NDArray[np.float32]) -> list[float]:
    """Probabilities (n, h, w, classes) at some pixels."""
    rows, columns = (max(1, side // _ANSWERS) for side in probabilities.shape[1:3])
    return [float(value) for value in np.asarray(probabilities, np.float32)[:, ::rows, ::columns].ravel()]


@final
class Validation:
    """Validates a network as it learns, and gives its weights to the twin that is saved.

    It is the learning network itself that predicts the validation images, in its own precision; where it is spread over
    several devices, the twin does, on one.

    Args:
        network: The one that learns.
        twin: Makes its float32 twin; called when there is something to save.
        bundle: What both expect, and what their outputs mean.
        order: Names of the learning network's layers in the order of the twin's.
        patches: What batch normalisation is measured on before.
        steps: On how many batches.
        validate: Scores an engine on so many of the validation images.
        select: The score by which networks are chosen.
    """

    def __init__(
        self,
        network: keras.Model,
        twin: Callable[[], keras.Model],
        *,
        bundle: Bundle,
        order: Sequence[str] | None = None,
        patches: Patches,
        steps: int,
        validate: Callable[[KerasEngine, int], Evaluation],
        select: Literal["mean_iou", "mean_precision"] = "mean_iou",
    ) -> None:
        self._twin = cache(twin)
        self._patches = patches
        self._steps = steps
        self._validate = validate
        self._select = select
        self._learning = KerasEngine(mask_only(network), bundle)
        self._predicting: KerasEngine | None = None if is_shared_out() else self._learning
        self._order = [layer.name for layer in self._learning.network.layers] if order is None else order
        self._recalibrate: Recalibration | None = None if is_shared_out() else Recalibration(network)

    def __call__(self, images: int) -> tuple[float, Evaluation]:
        """Measure the network as it is now, on so many images."""
        if self._predicting is None or self._recalibrate is None:
            with on_one_device():
                self._predicting = KerasEngine(self._twin(), self._learning.bundle)
                self._recalibrate = Recalibration(self._twin())
        if self._predicting is not self._learning:
            self._copy_weights()
        with on_one_device():
            self._recalibrate(map(self._patches.plain, range(self._steps)))
            return self.reached(self._predicting, images)

    def saved(self) -> keras.Model:
        """The twin, with the weights of the network that learns, and its statistics as they were last measured."""
        if self._predicting is None or self._predicting is self._learning:
            self._copy_weights()
        return self._twin()

    def answer(self, network: keras.Model) -> list[float]:
        """Some probabilities of ``network``, of a patch without augmentation: what it can be known by."""
        with on_one_device():
            return thinned(network.predict_on_batch(self._patches.plain(0)[:1]))

    def _copy_weights(self) -> None:
        layers = {layer.name: layer for layer in self._learning.network.layers}
        # Layers that have none may be missing: their work is done by others.
        with on_one_device():
            network = self._twin()
        network.set_weights([w for name in self._order if name in layers for w in layers[name].get_weights()])

    def reached(self, engine: KerasEngine, images: int) -> tuple[float, Evaluation]:
        """The score networks are chosen by, and all others, on so many images; no class at all counts as 0."""
        found = self._validate(engine, images)
        chosen = found.scores.mean_iou if self._select == "mean_iou" else found.mean_precision
        return chosen or 0.0, found

    def columns(self, found: Evaluation | None) -> dict[str, Any]:
        """The scores in a line of the history, or as many empty cells."""
        names = [label.name for label in self._learning.bundle.labels]
        scores = found.scores if found else None
        precision = {"val_mean_precision": found.mean_precision if found else None}
        by_class = {score.name: score.iou for score in scores.classes} if scores else {}
        overall = (scores.mean_iou, scores.pixel_accuracy) if scores else (None, None)
        columns = dict(zip(("val_mean_iou", "val_pixel_accuracy"), overall, strict=True))
        columns |= precision if self._learning.bundle.activation == "sigmoid" else {}
        columns |= {f"val_iou_{name}": by_class.get(name) for name in names}
        return {name: value if value is None else round(value, 6) for name, value in columns.items()}
