"""Bilinear upsampling with aligned corner pixels, as in torch with ``align_corners=True``.

`keras.layers.UpSampling2D` and `keras.ops.image.resize` align the outer edges of the pixels instead, so the results
differ everywhere except in the middle of the feature map.
"""

from typing import Any

import keras
from keras import ops

from maskwright.networks.bilinear_upsampling import BilinearUpsampling2D


@keras.saving.register_keras_serializable("maskwright")
class AlignedUpsampling2D(BilinearUpsampling2D):
    """Equivalent of ``torch.nn.UpsamplingBilinear2d``: (n, h, w, c) to (n, factor * h, factor * w, c) for any h and w.

    Args:
        factor: Upsampling factor of height and width.

    Raises:
        WrongArgument: ``factor`` is not a positive integer.

    >>> import numpy as np
    >>> row = AlignedUpsampling2D(2)(np.float32([0, 3, 9]).reshape(1, 1, 3, 1))[0, 0, :, 0]
    >>> np.round(keras.ops.convert_to_numpy(row), 2)
    array([0. , 1.2, 2.4, 4.2, 6.6, 9. ], dtype=float32)
    """

    def call(self, x: Any) -> Any:
        """Upsample the feature map ``x``."""
        # Matrix products are used instead of gathered neighbours because their gradients, which are matrix products
        # too, are three times as fast on a CPU and deterministic on a GPU.
        n, h, w, c = ops.shape(x)
        rows = ops.matmul(self._weights(h, x.dtype), ops.reshape(x, (n, h, w * c)))
        rows = ops.reshape(rows, (n, self.factor * h, w, c))
        return ops.matmul(self._weights(w, x.dtype), rows)

    def _weights(self, side: Any, dtype: Any) -> Any:
        """Return the interpolation weights (factor * side, side) of one axis."""
        # Computed in float32 because half precision cannot represent the pixel indices of a large side.
        steps = ops.cast(ops.maximum(self.factor * side - 1, 1), "float32")  # avoids 0 / 0 for a single pixel
        positions = ops.arange(self.factor * side, dtype="float32") * (ops.cast(side - 1, "float32") / steps)
        distances = ops.abs(ops.expand_dims(positions, 1) - ops.arange(side, dtype="float32"))
        return ops.cast(ops.relu(1 - distances), dtype)
