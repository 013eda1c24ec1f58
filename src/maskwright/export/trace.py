"""Trace a Keras network as a TensorFlow function with named tensors, which is the first step of every export."""

from typing import Any

import keras

from maskwright.errors import InputError

IMAGES, PROBABILITIES = "images", "probabilities"


class NeedsTensorFlow(InputError):
    """An attempt to export while Keras runs on a backend other than TensorFlow."""

    text = (
        "Keras runs on {found}, but export requires TensorFlow. Set KERAS_BACKEND=tensorflow and run the command again."
        " TensorFlow loads runs of every backend."
    )


def signature(network: keras.Model) -> Any:
    """Return the `tf.TensorSpec` of a batch of images (n, h, w, c) with variable n, h and w."""
    import tensorflow as tf

    return tf.TensorSpec((None, None, None, network.input_shape[-1]), tf.float32, name=IMAGES)


def as_function(network: keras.Model) -> Any:
    """Return a `tf.function` that maps ``images`` (n, h, w, c) to ``probabilities`` (n, h, w, outputs).

    Raises:
        NeedsTensorFlow: Keras runs on a backend other than TensorFlow.
    """
    check_backend()
    import tensorflow as tf

    def predict(images: Any) -> dict[str, Any]:
        return {PROBABILITIES: network(images, training=False)}

    return tf.function(predict, input_signature=[signature(network)])


def check_backend() -> None:
    """Check that Keras runs on TensorFlow.

    Raises:
        NeedsTensorFlow: Keras runs on a backend other than TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise NeedsTensorFlow(found=keras.backend.backend())
