"""The mean of a network's weights over the last part of a training: it lies deeper in the valley than any of its steps.

Izmailov et al., "Averaging weights leads to wider optima and better generalization" (2018).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, final

import keras
import numpy as np
from numpy.typing import NDArray

EVERY: Final = 10
"""Steps between the weights that are averaged."""


@final
class Average:
    """The mean of what the trainable weights of a network were each time they were added."""

    def __init__(self, network: keras.Model) -> None:
        self._network = network
        self._mean: list[NDArray[np.float32]] = []
        self._number = 0

    def add(self) -> None:
        """Count the weights as they are."""
        weights = self._weights()
        self._number += 1
        if not self._mean:
            self._mean = [np.array(weight, np.float32) for weight in weights]
            return
        for mean, weight in zip(self._mean, weights, strict=True):
            mean += (weight - mean) / self._number

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the network have the mean meanwhile, if there is one."""
        if not self._number:
            yield
            return
        own = self._weights()
        self._assign(self._mean)
        try:
            yield
        finally:
            self._assign(own)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """What a checkpoint keeps of it; nothing before the first weights."""
        if not self._number:
            return {}
        return {"number": np.array(self._number)} | {str(place): mean for place, mean in enumerate(self._mean)}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `to_arrays` gave."""
        self._number = int(arrays["number"]) if arrays else 0
        self._mean = [np.array(arrays[str(place)]) for place in range(len(arrays) - 1)] if arrays else []

    def _weights(self) -> list[NDArray[np.float32]]:
        return [np.array(keras.ops.convert_to_numpy(weight)) for weight in self._network.trainable_weights]

    def _assign(self, values: list[NDArray[np.float32]]) -> None:
        for weight, value in zip(self._network.trainable_weights, values, strict=True):
            weight.assign(value)
