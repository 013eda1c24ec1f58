"""Bilinear enlargement of maps whose height and width are known only when the network runs.

Keras 3.15 has the same in ``UpSampling2D`` and ``ops.image.resize``, but they compare the new size with zero, which on
TensorFlow fails in every graph that leaves a side open: after predicting on a second size, and on export.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from maskwright.networks.argument_checks import check_at_least_one


def resized(x: Any, *, height: Any, width: Any) -> Any:
    """Maps (n, h, w, c) as (n, height, width, c), bilinearly between the middles of the pixels."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return ops.cast(tf.image.resize(x, (height, width)), x.dtype)  # TensorFlow answers in float32
    return ops.image.resize(x, (height, width), interpolation="bilinear", data_format="channels_last")


@keras.saving.register_keras_serializable("maskwright")
class BilinearUpsampling2D(keras.layers.Layer):
    """Maps (n, h, w, c) enlarged to (n, factor * h, factor * w, c), any h and w.

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
        """Enlarge ``x``."""
        _, height, width, _ = ops.shape(x)
        return resized(x, height=self.factor * height, width=self.factor * width)

    def compute_output_shape(self, shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """(n, factor * h, factor * w, c); sizes left open stay open."""
        n, h, w, c = shape
        return n, h and self.factor * h, w and self.factor * w, c

    def get_config(self) -> dict[str, Any]:
        """Arguments to build the layer anew."""
        return {**super().get_config(), "factor": self.factor}
