"""Implement stochastic weight averaging over the final part of training.

The method is described by Izmailov et al., "Averaging weights leads to wider optima and better generalization" (2018).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, final

import keras
import numpy as np
from numpy.typing import NDArray

AVERAGING_INTERVAL: Final = 10
"""Number of steps between two additions of the weights to the average."""


@final
class WeightAverage:
    """Running mean of the trainable weights of a network over several steps.

    Args:
        network: Network whose weights are averaged.
    """

    def __init__(self, network: keras.Model) -> None:
        self._network = network
        self._mean: list[NDArray[np.float32]] = []
        self._count = 0

    def add(self) -> None:
        """Add the current weights to the average."""
        weights = self._weights()
        self._count += 1
        if not self._mean:
            self._mean = [np.array(weight, np.float32) for weight in weights]
            return
        for mean, weight in zip(self._mean, weights, strict=True):
            mean += (weight - mean) / self._count

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Set the weights of the network to the average within the context, if an average exists."""
        if not self._count:
            yield
            return
        current = self._weights()
        self._assign(self._mean)
        try:
            yield
        finally:
            self._assign(current)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the average as arrays for a checkpoint, or an empty mapping if no weights have been added."""
        if not self._count:
            return {}
        return {"count": np.array(self._count)} | {str(index): mean for index, mean in enumerate(self._mean)}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Restore the average from arrays returned by `to_arrays`."""
        self._count = int(arrays["count"]) if arrays else 0
        self._mean = [np.array(arrays[str(index)]) for index in range(len(arrays) - 1)] if arrays else []

    def _weights(self) -> list[NDArray[np.float32]]:
        return [np.array(keras.ops.convert_to_numpy(weight)) for weight in self._network.trainable_weights]

    def _assign(self, values: list[NDArray[np.float32]]) -> None:
        for weight, value in zip(self._network.trainable_weights, values, strict=True):
            weight.assign(value)
