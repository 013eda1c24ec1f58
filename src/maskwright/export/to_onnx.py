"""Export networks to ONNX for batches and images of any size."""

import logging
from pathlib import Path

import keras
import tf2onnx

from maskwright.export.trace import as_function, signature

_OPSET = 18


def write(network: keras.Model, folder: Path) -> str:
    """Write ``model.onnx``, with channels-last images and probabilities, and return the name of the file.

    Raises:
        NeedsTensorFlow: Keras runs on a backend other than TensorFlow.
    """
    name = "model.onnx"
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)  # tf2onnx logs every optimisation pass
    function = as_function(network)
    tf2onnx.convert.from_function(
        function, input_signature=[signature(network)], opset=_OPSET, output_path=str(folder / name)
    )
    return name
