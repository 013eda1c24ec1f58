"""One step of learning: loss, gradients and update in one call."""

from collections.abc import Callable
from typing import Any

import keras

Step = Callable[[Any, Any], float]
"""Learns from images (n, h, w, c) and their targets, and returns the loss before the update."""


def step_of(network: keras.Model) -> Step:
    """The step of a compiled network, for patches of every size.

    On TensorFlow it is traced once, with height and width left open, where Keras traces again for a second size.
    """
    return _traced_step(network) if keras.backend.backend() == "tensorflow" else _keras_step(network)


def _keras_step(network: keras.Model) -> Step:
    def step(images: Any, targets: Any) -> float:
        network.reset_metrics()  # else the loss is the mean since the first step
        return float(network.train_on_batch(images, targets, return_dict=True)["loss"])

    return step


def _traced_step(network: keras.Model) -> Step:
    import tensorflow as tf

    @tf.function(reduce_retracing=True)
    def traced(images: Any, targets: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = network.compute_loss(images, targets, network(images, training=True), training=True)
        weights = network.trainable_weights
        network.optimizer.apply(tape.gradient(loss, [weight.value for weight in weights]), weights)
        return loss

    concrete: list[Any] = []

    def step(images: Any, targets: Any) -> float:
        given = tf.nest.map_structure(tf.convert_to_tensor, (images, targets))
        if not concrete:
            concrete.append(traced.get_concrete_function(*tf.nest.map_structure(_of_any_size, given)))
        return float(concrete[0](*given))

    return step


def _of_any_size(tensor: Any) -> Any:
    """What is known of a batch of images or masks beforehand: its number of axes, its type and its channels."""
    import tensorflow as tf

    open_axes = min(3, tensor.shape.rank) if tensor.shape.rank > 2 else 1
    return tf.TensorSpec([None] * open_axes + tensor.shape[open_axes:], tensor.dtype)
