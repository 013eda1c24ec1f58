"""Gradients of a loss on whichever backend runs the tests."""

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
    """The gradient of a loss by the prediction, as float32 NumPy."""

    def of(loss, truth, prediction, *, dtype="float32"):
        tensor = ops.convert_to_tensor(prediction, dtype=dtype)
        slope = GRADIENTS[keras.backend.backend()](lambda probabilities: loss(truth, probabilities), tensor)
        return ops.convert_to_numpy(ops.cast(slope, "float32"))

    return of
