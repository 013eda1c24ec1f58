"""Bilinear upsampling of feature maps of variable size.

`keras.layers.UpSampling2D` and `keras.ops.image.resize` of Keras 3.15 compare the new size with zero. On TensorFlow,
this comparison fails in every graph of variable size: when masks are predicted for a second image size, and on export.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from maskwright.networks.argument_checks import check_at_least_one


def resize_bilinear(x: Any, *, height: Any, width: Any) -> Any:
    """Resize (n, h, w, c) to (n, height, width, c) bilinearly with half-pixel centres."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return ops.cast(tf.image.resize(x, (height, width)), x.dtype)  # TensorFlow returns float32
    return ops.image.resize(x, (height, width), interpolation="bilinear", data_format="channels_last")


@keras.saving.register_keras_serializable("maskwright")
class BilinearUpsampling2D(keras.layers.Layer):
    """Upsample (n, h, w, c) to (n, factor * h, factor * w, c) bilinearly, for any h and w.

    Args:
        factor: Upsampling factor of height and width.

    Raises:
        WrongArgument: ``factor`` is not a positive integer.

    >>> import numpy as np
    >>> row = BilinearUpsampling2D(2)(np.float32([0, 4, 8]).reshape(1, 1, 3, 1))[0, 0, :, 0]
    >>> keras.ops.convert_to_numpy(row)
    array([0., 1., 3., 5., 7., 8.], dtype=float32)
    """

    def __init__(self, factor: int, **kwargs: Any) -> None:
        check_at_least_one("factor", factor)
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x: Any) -> Any:
        """Upsample the feature map ``x``."""
        _, height, width, _ = ops.shape(x)
        return resize_bilinear(x, height=self.factor * height, width=self.factor * width)

    def compute_output_shape(self, shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Return (n, factor * h, factor * w, c); unknown sides remain None."""
        n, h, w, c = shape
        return n, h and self.factor * h, w and self.factor * w, c

    def get_config(self) -> dict[str, Any]:
        """Return the configuration of the layer."""
        return {**super().get_config(), "factor": self.factor}
