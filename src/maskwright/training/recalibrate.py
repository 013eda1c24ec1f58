"""Statistics of batch normalisation, measured over images as they will be predicted."""

from collections.abc import Iterable
from typing import Any, final

import keras
import numpy as np
from numpy.typing import NDArray


class Recalibration:
    """Sets the moving statistics of a network's batch normalisations to those of given images.

    The moving averages of training are those of augmented patches, whose zoom and brightness give other means and
    variances than the images to be predicted have, and they follow the last few batches only.
    Source: Wu and Johnson, "Rethinking 'Batch' in BatchNorm" (2021), section 3.
    """

    def __init__(self, network: keras.Model) -> None:
        self.layers = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
        self._forward = _AsInTraining(network)

    def __call__(self, batches: Iterable[NDArray[np.float32]]) -> None:
        """Measure ``batches`` (n, h, w, c) of normalised images, at least one; weights are left alone.

        Means are averaged and variances within and between batches added: the statistics of all batches as one.
        """
        momenta = [layer.momentum for layer in self.layers]
        means, variances = [], []
        try:
            for layer in self.layers:
                layer.momentum = 0.0  # so that each batch leaves its own statistics behind
            for batch in batches:
                self._forward.predict_on_batch(batch)
                means.append([_numpy(layer.moving_mean) for layer in self.layers])
                variances.append([_numpy(layer.moving_variance) for layer in self.layers])
        finally:
            for layer, momentum in zip(self.layers, momenta, strict=True):
                layer.momentum = momentum
        for layer, mean, variance in zip(
            self.layers, zip(*means, strict=True), zip(*variances, strict=True), strict=True
        ):
            layer.moving_mean.assign(np.mean(mean, axis=0))
            layer.moving_variance.assign(np.mean(variance, axis=0) + np.var(mean, axis=0))


@final
class _AsInTraining(keras.Model):
    """A network that normalises by the batch when it predicts; as a model, so that Keras compiles it on any backend."""

    def __init__(self, network: keras.Model) -> None:
        super().__init__(name="as_in_training")
        self.network = network

    def call(self, images: Any) -> Any:
        return self.network(images, training=True)


def _numpy(variable: keras.Variable) -> NDArray[np.float64]:
    return keras.ops.convert_to_numpy(variable).astype(np.float64)
