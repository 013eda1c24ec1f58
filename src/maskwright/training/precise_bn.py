"""Statistics of batch normalisation, measured over images as they will be predicted."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
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
        self._dropouts = [layer for layer in network.layers if isinstance(layer, keras.layers.Dropout)]
        self._forward = _AsInTraining(network)

    def __call__(self, batches: Iterable[NDArray[np.float32]]) -> None:
        """Measure ``batches`` (n, h, w, c) of normalised images, at least one; weights are left alone.

        Means are averaged and variances within and between batches added: the statistics of all batches as one.
        """
        means, variances = [], []
        # Without momentum each batch leaves its own statistics behind; what drops would add to their variances.
        # Both are read while a function is traced: that of `_forward`, which is called nowhere else, has them so.
        with _each(self.layers, "momentum", 0.0), _each(self._dropouts, "rate", 0.0):
            for batch in batches:
                self._forward.predict_on_batch(batch)
                means.append([_numpy(layer.moving_mean) for layer in self.layers])
                variances.append([_numpy(layer.moving_variance) for layer in self.layers])
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


@contextmanager
def _each(layers: Sequence[keras.Layer], attribute: str, value: float) -> Iterator[None]:
    """Let an attribute of every layer have this value for a while."""
    before = [getattr(layer, attribute) for layer in layers]
    try:
        for layer in layers:
            setattr(layer, attribute, value)
        yield
    finally:
        for layer, own in zip(layers, before, strict=True):
            setattr(layer, attribute, own)


def _numpy(variable: keras.Variable) -> NDArray[np.float64]:
    return keras.ops.convert_to_numpy(variable).astype(np.float64)
