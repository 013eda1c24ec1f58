"""Bilinear enlargement whose corner pixels keep their place, as torch networks enlarge with ``align_corners=True``.

Keras' own ``UpSampling2D`` and ``resize`` align the outer edges of the pixels instead; the two differ everywhere but
in the middle of the map.
"""

from typing import Any

import keras
from keras import ops

from maskwright.networks.bilinear_upsampling import BilinearUpsampling2D


@keras.saving.register_keras_serializable("maskwright")
class AlignedUpsampling2D(BilinearUpsampling2D):
    """Maps (n, h, w, c) enlarged to (n, factor * h, factor * w, c), any h and w: ``torch.nn.UpsamplingBilinear2d``.

    Raises:
        WrongArgument: ``factor`` is not a positive integer.

    >>> import numpy as np
    >>> row = AlignedUpsampling2D(2)(np.float32([0, 3, 9]).reshape(1, 1, 3, 1))[0, 0, :, 0]
    >>> np.round(keras.ops.convert_to_numpy(row), 2)
    array([0. , 1.2, 2.4, 4.2, 6.6, 9. ], dtype=float32)
    """

    def call(self, x: Any) -> Any:
        """Enlarge ``x``."""
        # Two products with small matrices, not gathered neighbours: their gradient is a product too, three times as
        # fast to train on a CPU, and the same in every run on a GPU.
        n, h, w, c = ops.shape(x)
        rows = ops.matmul(self._weights(h, x.dtype), ops.reshape(x, (n, h, w * c)))
        rows = ops.reshape(rows, (n, self.factor * h, w, c))
        return ops.matmul(self._weights(w, x.dtype), rows)

    def _weights(self, side: Any, dtype: Any) -> Any:
        """What each pixel of an enlarged side takes of each pixel of ``side``: (factor * side, side)."""
        # In float32 until the end: half precision cannot count the pixels of a large side.
        steps = ops.cast(ops.maximum(self.factor * side - 1, 1), "float32")  # a single pixel has no steps
        places = ops.arange(self.factor * side, dtype="float32") * (ops.cast(side - 1, "float32") / steps)
        distances = ops.abs(ops.expand_dims(places, 1) - ops.arange(side, dtype="float32"))
        return ops.cast(ops.relu(1 - distances), dtype)
