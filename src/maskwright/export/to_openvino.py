"""A network written as an OpenVINO model, for batches of any size."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras

from maskwright.export import to_saved_model
from maskwright.inference.openvino_runtime import openvino


def convert(network: keras.Model) -> Any:
    """``network`` as an `openvino.Model` in float32, (n, h, w, c) to (n, h, w, outputs), n, h and w free.

    Raises:
        NeedsTensorFlow: Keras runs on another backend.
    """
    core = openvino.Core()
    core.set_property({"ENABLE_MMAP": False})  # the weights' file does not last
    with TemporaryDirectory() as folder:
        return core.read_model(Path(folder) / to_saved_model.write(network, Path(folder)))


def write(network: keras.Model, folder: Path) -> str:
    """Write ``model.xml`` and ``model.bin`` into ``folder``; the name of the first, which is the one to open.

    Raises:
        NeedsTensorFlow: Keras runs on another backend.
    """
    name = "model.xml"
    # Weights keep all their digits: what is computed in is chosen when the model is opened.
    openvino.save_model(convert(network), folder / name, compress_to_fp16=False)
    return name
