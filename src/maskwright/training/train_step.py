"""Create functions that take a training step: one call computes the loss and the gradients, and updates the weights."""

from collections.abc import Callable
from typing import Any

import keras

from maskwright.framework import no_gc

TrainStep = Callable[[Any, Any], float]
"""Function that updates a network by images (n, h, w, c) and their targets, and returns the loss before the update."""


def make_train_step(network: keras.Model, *, fuse_loss: bool = False) -> TrainStep:
    """Return a function that takes training steps of a compiled network, for patches of any size.

    On TensorFlow, the function is traced only once with unknown height and width, whereas Keras would trace it again
    for a second patch size.

    Args:
        network: Compiled network.
        fuse_loss: Whether to compile the loss and its gradient with XLA on TensorFlow. This halves the computation time
            of losses that are sums over pixels, but increases that of losses that sort pixels.
    """
    return _traced_step(network, fuse_loss) if keras.backend.backend() == "tensorflow" else _keras_step(network)


def _keras_step(network: keras.Model) -> TrainStep:
    def step(images: Any, targets: Any) -> float:
        network.reset_metrics()  # otherwise the returned loss is the mean since the first step
        return float(network.train_on_batch(images, targets, return_dict=True)["loss"])

    return step


def _traced_step(network: keras.Model, fuse_loss: bool) -> TrainStep:
    import tensorflow as tf

    @tf.function(jit_compile=fuse_loss, autograph=False)
    def loss_and_gradient(targets: Any, outputs: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(outputs)
            loss = network.compute_loss(y=targets, y_pred=outputs, training=True)  # the loss includes regularisation
        return loss, tape.gradient(loss, outputs)

    @tf.function(autograph=False)
    def traced(images: Any, targets: Any) -> Any:
        with tf.GradientTape() as tape:
            outputs = network(images, training=True)
            penalties = network.losses  # losses of regularisers, whose gradients do not depend on the outputs
        # The outputs are copied because Keras would otherwise compute the loss from logits attached to sigmoid outputs.
        loss, output_gradients = loss_and_gradient(targets, tf.nest.map_structure(tf.identity, outputs))
        weights = network.trainable_weights
        gradients = tape.gradient(
            [*tf.nest.flatten(outputs), *penalties],
            [weight.value for weight in weights],
            output_gradients=[*tf.nest.flatten(output_gradients), *map(tf.ones_like, penalties)],
        )
        network.optimizer.apply(gradients, weights)
        return loss

    concrete: list[Any] = []

    def step(images: Any, targets: Any) -> float:
        batch = tf.nest.map_structure(tf.convert_to_tensor, (images, targets))
        if not concrete:
            with no_gc():
                concrete.append(traced.get_concrete_function(*tf.nest.map_structure(_spec_of_any_size, batch)))
        return float(concrete[0](*batch))

    return step


def _spec_of_any_size(tensor: Any) -> Any:
    """Return the signature of a batch of images, masks or labels, in which only the number of channels is fixed."""
    import tensorflow as tf

    open_axes = min(3, tensor.shape.rank) if tensor.shape.rank > 2 else 1
    return tf.TensorSpec([None] * open_axes + tensor.shape[open_axes:], tensor.dtype)
