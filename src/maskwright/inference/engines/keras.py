"""An engine for Keras networks, on any Keras backend."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from threading import Lock
from typing import Any, final
from zipfile import is_zipfile

import keras
import numpy as np
from numpy.typing import NDArray

from maskwright.errors import InputError
from maskwright.inference.bundle import Bundle
from maskwright.inference.device import Device
from maskwright.inference.framework_devices import check_device
from maskwright.networks import aligned_upsampling, bilinear_upsampling, cell_pooling, grouped_conv  # noqa: F401  registers the layers for loading


class UnreadableNetwork(InputError):
    """A ``model.keras`` file that cannot be loaded safely."""

    text = "{file}: cannot be loaded as a Keras network ({found}); expected a file written by training."


@final
class KerasEngine:
    """A Keras network in memory, as an `Engine` that computes on ``device``; if absent, Keras chooses the device."""

    def __init__(self, network: keras.Model, bundle: Bundle, *, device: Device | None = None) -> None:
        self.network = network
        self.bundle = bundle
        self.device = device
        self._call_lock = Lock()  # a model stores the state of one call and, on JAX, the weights during that call

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probabilities (n, h, w, outputs) of prepared images (n, h, w, inputs)."""
        # `predict` leaks memory if called in a loop on TensorFlow, so one compiled function is called instead.
        with self._call_lock, _device_scope(self.device):  # the scope applies to this thread only
            return np.asarray(self.network.predict_on_batch(images), dtype=np.float32)


def load_network(file: Path) -> keras.Model:
    """Load the network of a ``.keras`` file in safe mode, without running code from the file.

    Raises:
        UnreadableNetwork: The file is damaged or contains code.
    """
    if file.suffix != ".keras":
        raise UnreadableNetwork(file=file, found="its name does not end in .keras")
    if file.is_file() and not is_zipfile(file):  # Keras would report that there is no such file
        raise UnreadableNetwork(file=file, found="it is not a zip archive, or it is truncated")
    try:
        return keras.saving.load_model(file, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many classes of errors for damaged files
        raise UnreadableNetwork(file=file, found=" ".join(str(error).split())[:200]) from None


def load_keras_engine(file: Path, bundle: Bundle, *, device: Device | None = None) -> KerasEngine:
    """Load the engine of a ``.keras`` file, with its weights in the memory of ``device``.

    Raises:
        MissingDevice: The backend of Keras does not find the device.
        UnreadableNetwork: The file is damaged, contains code or does not match the bundle.
    """
    if device is not None:
        check_device(device, keras.backend.backend())
    with _device_scope(device):
        network = load_network(file)
    channels, expected = (network.input_shape[-1], network.output_shape[-1]), (bundle.inputs, bundle.outputs)
    if channels != expected:
        found = (
            f"it has {channels[0]} input and {channels[1]} output channels, its bundle {expected[0]} and {expected[1]}"
        )
        raise UnreadableNetwork(file=file, found=found)
    return KerasEngine(network, bundle, device=device)


def _device_scope(device: Device | None) -> AbstractContextManager[Any]:
    return nullcontext() if device is None else keras.device(str(device))
