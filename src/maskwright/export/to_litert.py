"""Export networks to LiteRT (formerly TensorFlow Lite) for batches and images of any size."""

from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import tensorflow as tf

from maskwright.export import to_saved_model


def write(network: keras.Model, folder: Path) -> str:
    """Write ``model.tflite`` in float32 with only built-in LiteRT operations and return its name.

    Raises:
        NeedsTensorFlow: Keras runs on a backend other than TensorFlow.
    """
    name = "model.tflite"
    with TemporaryDirectory() as saved:
        source = Path(saved) / to_saved_model.write(network, Path(saved))
        converted = tf.lite.TFLiteConverter.from_saved_model(str(source)).convert()
    (folder / name).write_bytes(converted)
    return name
