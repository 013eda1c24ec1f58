"""Implement precise batch normalisation, which recomputes the statistics on images without augmentation, as in
prediction.

The method is described by Wu and Johnson, "Rethinking 'Batch' in BatchNorm" (2021), section 3.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, final

import keras
import numpy as np
from numpy.typing import NDArray


@final
class PreciseBatchNorm:
    """Set the moving statistics of the batch normalisation layers of a network to the statistics of given images.

    In training, the moving statistics are those of augmented patches, whose means and variances differ from those of
    the images used for prediction because of zoom and brightness. They also depend only on the last few batches.

    Args:
        network: Network whose batch normalisation statistics are set.
    """

    def __init__(self, network: keras.Model) -> None:
        self.layers = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
        self._dropouts = [layer for layer in network.layers if isinstance(layer, keras.layers.Dropout)]
        self._forward = _TrainingMode(network)

    def __call__(self, batches: Iterable[NDArray[np.float32]]) -> None:
        """Set the moving statistics to the mean and the variance over all batches; weights do not change.

        The mean is the mean of the batch means, and the variance is the mean of the batch variances plus the variance
        of the batch means.

        Args:
            batches: One or more batches (n, h, w, c) of normalised images.
        """
        means, variances = [], []
        # Without momentum, the moving statistics are set to those of the last batch. Without dropout, their variance is
        # that of prediction. Both attributes are read during tracing, and `_forward` is traced only here.
        with _with_attribute(self.layers, "momentum", 0.0), _with_attribute(self._dropouts, "rate", 0.0):
            for batch in batches:
                self._forward.predict_on_batch(batch)
                means.append([_to_numpy(layer.moving_mean) for layer in self.layers])
                variances.append([_to_numpy(layer.moving_variance) for layer in self.layers])
        for layer, mean, variance in zip(
            self.layers, zip(*means, strict=True), zip(*variances, strict=True), strict=True
        ):
            layer.moving_mean.assign(np.mean(mean, axis=0))
            layer.moving_variance.assign(np.mean(variance, axis=0) + np.var(mean, axis=0))


@final
class _TrainingMode(keras.Model):
    """Network that is called in training mode, wrapped as a Keras model so that it is compiled on any backend."""

    def __init__(self, network: keras.Model) -> None:
        super().__init__(name="training_mode")
        self.network = network

    def call(self, images: Any) -> Any:
        return self.network(images, training=True)


@contextmanager
def _with_attribute(layers: Sequence[keras.Layer], attribute: str, value: float) -> Iterator[None]:
    """Set an attribute of every layer to ``value`` within the context."""
    previous = [getattr(layer, attribute) for layer in layers]
    try:
        for layer in layers:
            setattr(layer, attribute, value)
        yield
    finally:
        for layer, original in zip(layers, previous, strict=True):
            setattr(layer, attribute, original)


def _to_numpy(variable: keras.Variable) -> NDArray[np.float64]:
    return keras.ops.convert_to_numpy(variable).astype(np.float64)
