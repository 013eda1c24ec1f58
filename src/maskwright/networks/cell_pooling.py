"""Pooling of feature maps of variable size to a fixed grid, and upsampling back to the original size.

The adaptive pooling layers of Keras require a static height and width.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

import keras
from keras import ops

from maskwright.errors import one_of
from maskwright.networks.bilinear_upsampling import resize_bilinear

Pooling = Literal["avg", "max"]
POOLINGS: Final[Mapping[str, Callable[..., Any]]] = {"avg": ops.mean, "max": ops.max}


@keras.saving.register_keras_serializable("maskwright")
class CellPooling(keras.layers.Layer):
    """Adaptive pooling to a grid: (n, h, w, c) to (n, cells, cells, c) for any h and w, as in torch.

    Along a side, cell i covers the pixels from floor(i * side / cells) up to, but excluding, ceil((i + 1) * side /
    cells). If ``cells`` does not divide a side, neighbouring cells overlap by a pixel.

    Args:
        cells: Number of cells per side.
        pooling_type: Type of pooling: ``"avg"`` or ``"max"``.

    Raises:
        UnknownChoice: ``pooling_type`` is unknown.

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
        """Pool the feature map ``x``."""
        for axis in (1, 2):  # rows and columns can be pooled in turn because windows are rectangles
            side = ops.shape(x)[axis]
            leading = (slice(None),) * axis
            windows = [
                x[(*leading, slice(i * side // self.cells, -(-(i + 1) * side // self.cells)))]
                for i in range(self.cells)
            ]
            x = ops.stack([self._reduce(window, axis=axis) for window in windows], axis=axis)
        return x

    def compute_output_shape(self, shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Return (n, cells, cells, c)."""
        return shape[0], self.cells, self.cells, shape[3]

    def get_config(self) -> dict[str, Any]:
        """Return the configuration of the layer."""
        return {**super().get_config(), "cells": self.cells, "pooling_type": self.pooling_type}


@keras.saving.register_keras_serializable("maskwright")
class ResizeLike(keras.layers.Layer):
    """Resize the first of two feature maps bilinearly to the height and width of the second.

    >>> import numpy as np
    >>> tuple(ResizeLike()([np.ones((1, 2, 2, 3)), np.ones((1, 5, 7, 8))]).shape)
    (1, 5, 7, 3)
    """

    def call(self, feature_maps: Sequence[Any]) -> Any:
        """Resize the first of ``feature_maps``."""
        x, reference = feature_maps
        height, width = ops.shape(reference)[1:3]
        return resize_bilinear(x, height=height, width=width)

    def compute_output_shape(self, shapes: Sequence[Sequence[int | None]]) -> tuple[int | None, ...]:
        """Return the output shape: height and width of the second feature map, and channels of the first."""
        x, reference = shapes
        return x[0], reference[1], reference[2], x[3]
