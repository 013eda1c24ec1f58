"""A Keras network as a TensorFlow function of named tensors, which every exporter starts from."""

from typing import Any

import keras

from maskwright.errors import InputError

IMAGES, PROBABILITIES = "images", "probabilities"


class NeedsTensorFlow(InputError):
    """An export asked for while Keras runs on another backend."""

    text = (
        "Exporting goes through TensorFlow, but Keras runs on {found} here; start again with KERAS_BACKEND=tensorflow. "
        "A run trained on any backend opens on it."
    )


def signature(network: keras.Model) -> Any:
    """The `tf.TensorSpec` of a batch of any number of images of any size, (n, h, w, c)."""
    import tensorflow as tf

    return tf.TensorSpec((None, None, None, network.input_shape[-1]), tf.float32, name=IMAGES)


def as_function(network: keras.Model) -> Any:
    """A `tf.function` that maps ``images``, (n, h, w, c), to ``probabilities``, (n, h, w, outputs).

    Raises:
        NeedsTensorFlow: Keras runs on another backend.
    """
    check_backend()
    import tensorflow as tf

    def predict(images: Any) -> dict[str, Any]:
        return {PROBABILITIES: network(images, training=False)}

    return tf.function(predict, input_signature=[signature(network)])


def check_backend() -> None:
    """Refuse to go on without TensorFlow.

    Raises:
        NeedsTensorFlow: Keras runs on another backend.
    """
    if keras.backend.backend() != "tensorflow":
        raise NeedsTensorFlow(found=keras.backend.backend())
