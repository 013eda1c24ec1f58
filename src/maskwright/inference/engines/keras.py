"""A Keras network as an engine, on whatever backend Keras runs."""

from pathlib import Path
from threading import Lock
from typing import final

import keras
import numpy as np
from numpy.typing import NDArray

from maskwright.errors import InputError
from maskwright.inference.bundle import Bundle
from maskwright.networks import aligned_upsampling, bilinear_upsampling, cell_pooling, grouped_conv  # noqa: F401  Keras opens files that hold these layers


class UnreadableNetwork(InputError):
    """A ``model.keras`` that cannot be opened safely."""

    text = "{file}: cannot be opened as a Keras network ({found}); expected the file that a training wrote."


@final
class KerasEngine:
    """A Keras network, in memory, behind the `Engine` protocol."""

    def __init__(self, network: keras.Model, bundle: Bundle) -> None:
        self.network = network
        self.bundle = bundle
        self._alone = Lock()  # a model keeps what a call works with, on JAX its weights

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities, (n, h, w, outputs), of prepared images, (n, h, w, c)."""
        # Not `predict`, which leaks memory in a loop on TensorFlow: this calls one compiled function.
        with self._alone:
            return np.asarray(self.network.predict_on_batch(images), dtype=np.float32)


def load_network(file: Path) -> keras.Model:
    """The network of a ``.keras`` file, read in safe mode: no code in the file is run.

    Raises:
        UnreadableNetwork: The file is damaged, or holds code.
    """
    try:
        return keras.saving.load_model(file, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever the damaged part happens to upset
        raise UnreadableNetwork(file=file, found=" ".join(str(error).split())[:200]) from None


def load_keras_engine(file: Path, bundle: Bundle) -> KerasEngine:
    """The engine of a ``.keras`` file.

    Raises:
        UnreadableNetwork: The file is damaged, holds code, or does not fit the bundle.
    """
    network = load_network(file)
    has, says = (network.input_shape[-1], network.output_shape[-1]), (bundle.inputs, bundle.outputs)
    if has != says:
        found = f"it has {has[0]} input and {has[1]} output channels, its bundle says {says[0]} and {says[1]}"
        raise UnreadableNetwork(file=file, found=found)
    return KerasEngine(network, bundle)
