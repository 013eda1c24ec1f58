"""Export networks to a TensorFlow SavedModel for batches and images of any size."""

from pathlib import Path

import keras

from maskwright.export.trace import as_function, signature


def write(network: keras.Model, folder: Path) -> str:
    """Write the folder ``saved_model``, with the signature ``serving_default``, and return its name.

    Raises:
        NeedsTensorFlow: Keras runs on a backend other than TensorFlow.
    """
    name = "saved_model"
    archive = keras.export.ExportArchive()
    archive.track(network)
    archive.add_endpoint("serve", as_function(network).python_function, input_signature=[signature(network)])
    archive.write_out(str(folder / name), verbose=False)
    return name
