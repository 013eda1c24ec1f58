"""Layers that see a map of any size as a grid of cells: pooling to a fixed number of cells, and back to the map's size.

Keras' own adaptive poolings do the same only where height and width are known when the network is built.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

import keras
from keras import ops

from maskwright.errors import one_of
from maskwright.networks.bilinear_upsampling import resized

Pooling = Literal["avg", "max"]
POOLINGS: Final[Mapping[str, Callable[..., Any]]] = {"avg": ops.mean, "max": ops.max}


@keras.saving.register_keras_serializable("maskwright")
class CellPooling(keras.layers.Layer):
    """Mean or maximum of each of ``cells`` x ``cells`` cells: (n, h, w, c) to (n, cells, cells, c), any h and w.

    Cell i of a side reaches from floor(i * side / cells) up to ceil((i + 1) * side / cells), so cells of a side that
    ``cells`` does not divide overlap by a pixel. This is the adaptive pooling of torch.

    Raises:
        UnknownChoice: ``pooling_type`` is neither ``"avg"`` nor ``"max"``.

    >>> import numpy as np
    >>> np.array(CellPooling(2, "max")(np.arange(16.0).reshape(1, 4, 4, 1)))[0, ..., 0].tolist()
    [[5.0, 7.0], [13.0, 15.0]]
    """

    def __init__(self, cells: int, pooling_type: Pooling = "avg", **kwargs: Any) -> None:
        self._reduce = one_of("pooling_type", pooling_type, POOLINGS)
        super().__init__(**kwargs)
        self.cells = cells
        self.pooling_type = pooling_type

    def call(self, x: Any) -> Any:
        """Pool ``x``."""
        for axis in (1, 2):  # rows, then columns: windows are rectangles of equal rows
            side = ops.shape(x)[axis]
            before = (slice(None),) * axis
            windows = [
                x[(*before, slice(i * side // self.cells, -(-(i + 1) * side // self.cells)))] for i in range(self.cells)
            ]
            x = ops.stack([self._reduce(window, axis=axis) for window in windows], axis=axis)
        return x

    def compute_output_shape(self, shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """(n, cells, cells, c)."""
        return shape[0], self.cells, self.cells, shape[3]

    def get_config(self) -> dict[str, Any]:
        """Arguments to build the layer anew."""
        return {**super().get_config(), "cells": self.cells, "pooling_type": self.pooling_type}


@keras.saving.register_keras_serializable("maskwright")
class ResizeLike(keras.layers.Layer):
    """The first of two maps, enlarged bilinearly to the height and width of the second.

    >>> import numpy as np
    >>> tuple(ResizeLike()([np.ones((1, 2, 2, 3)), np.ones((1, 5, 7, 8))]).shape)
    (1, 5, 7, 3)
    """

    def call(self, maps: Sequence[Any]) -> Any:
        """Enlarge the first of ``maps``."""
        x, like = maps
        height, width = ops.shape(like)[1:3]
        return resized(x, height=height, width=width)

    def compute_output_shape(self, shapes: Sequence[Sequence[int | None]]) -> tuple[int | None, ...]:
        """(n, h, w, c): height and width of the second, channels of the first."""
        x, like = shapes
        return x[0], like[1], like[2], x[3]
