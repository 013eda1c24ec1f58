"""Gradient of a loss on the backend that runs the tests."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import ops

Gradient = Callable[..., np.ndarray]


def _gradient_tensorflow(function, tensor):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(tensor)
        value = function(tensor)
    return tape.gradient(value, tensor)


def _gradient_jax(function, tensor):
    import jax

    return jax.grad(function)(tensor)


def _gradient_torch(function, tensor):
    tensor.requires_grad_(True)
    function(tensor).backward()
    return tensor.grad


GRADIENTS = {"tensorflow": _gradient_tensorflow, "jax": _gradient_jax, "torch": _gradient_torch}


@pytest.fixture(scope="session")
def gradient() -> Gradient:
    """Gradient of a loss with respect to the prediction, as a float32 NumPy array."""

    def compute(loss, truth, prediction, *, dtype="float32"):
        tensor = ops.convert_to_tensor(prediction, dtype=dtype)
        slopes = GRADIENTS[keras.backend.backend()](lambda predicted: loss(truth, predicted), tensor)
        return ops.convert_to_numpy(ops.cast(slopes, "float32"))

    return compute
