"""One step of learning: loss, gradients and update in one call."""

from collections.abc import Callable
from typing import Any

import keras

from maskwright.framework import no_gc

Step = Callable[[Any, Any], float]
"""Learns from images (n, h, w, c) and their targets, and returns the loss before the update."""


def step_of(network: keras.Model, *, fuse_loss: bool = False) -> Step:
    """The step of a compiled network, for patches of every size.

    On TensorFlow it is traced once, with height and width left open, where Keras traces again for a second size.

    Args:
        network: The one that learns.
        fuse_loss: Let XLA make one loop of the loss and its gradient, on TensorFlow: half the time where the loss is
            made of sums, more where it sorts.
    """
    return _traced_step(network, fuse_loss) if keras.backend.backend() == "tensorflow" else _keras_step(network)


def _keras_step(network: keras.Model) -> Step:
    def step(images: Any, targets: Any) -> float:
        network.reset_metrics()  # else the loss is the mean since the first step
        return float(network.train_on_batch(images, targets, return_dict=True)["loss"])

    return step


def _traced_step(network: keras.Model, fuse_loss: bool) -> Step:
    import tensorflow as tf

    @tf.function(jit_compile=fuse_loss, autograph=False)
    def scored(targets: Any, answers: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(answers)
            loss = network.compute_loss(y=targets, y_pred=answers, training=True)  # what regularises is in it as well
        return loss, tape.gradient(loss, answers)

    @tf.function(autograph=False)
    def traced(images: Any, targets: Any) -> Any:
        with tf.GradientTape() as tape:
            answers = network(images, training=True)
            penalties = network.losses  # of regularisers, which do not depend on the answers
        # As new tensors: Keras hangs the logits on a sigmoid's answers, and would take the loss of those.
        loss, slopes = scored(targets, tf.nest.map_structure(tf.identity, answers))
        weights = network.trainable_weights
        gradients = tape.gradient(
            [*tf.nest.flatten(answers), *penalties],
            [weight.value for weight in weights],
            output_gradients=[*tf.nest.flatten(slopes), *map(tf.ones_like, penalties)],
        )
        network.optimizer.apply(gradients, weights)
        return loss

    concrete: list[Any] = []

    def step(images: Any, targets: Any) -> float:
        given = tf.nest.map_structure(tf.convert_to_tensor, (images, targets))
        if not concrete:
            with no_gc():
                concrete.append(traced.get_concrete_function(*tf.nest.map_structure(_of_any_size, given)))
        return float(concrete[0](*given))

    return step


def _of_any_size(tensor: Any) -> Any:
    """What is known of a batch of images or masks beforehand: its number of axes, its type and its channels."""
    import tensorflow as tf

    open_axes = min(3, tensor.shape.rank) if tensor.shape.rank > 2 else 1
    return tf.TensorSpec([None] * open_axes + tensor.shape[open_axes:], tensor.dtype)
