"""An engine for TensorFlow SavedModels, which requires TensorFlow."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, final

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from maskwright.inference.bundle import Bundle
from maskwright.inference.device import Device
from maskwright.inference.engines.record import EngineRecord, UnreadableEngine, check_channels
from maskwright.inference.framework_devices import check_device


@final
class SavedModelEngine:
    """The serving signature of a SavedModel as an `Engine`, for batches of any size."""

    def __init__(self, loaded: Any, bundle: Bundle, *, device: Device | None = None) -> None:
        self._loaded = loaded  # owns the variables, to which the signature has only weak references
        self._predict = loaded.signatures["serving_default"]
        self.bundle = bundle
        self.device = device

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probabilities (n, h, w, outputs) of prepared images (n, h, w, inputs)."""
        with _device_scope(self.device):
            return self._predict(images=tf.constant(images, tf.float32))["probabilities"].numpy()


def open_exported(
    folder: Path, record: EngineRecord, bundle: Bundle, *, threads: int | None = None, device: Device | None = None
) -> SavedModelEngine:
    """Open an exported SavedModel engine.

    Raises:
        UnreadableEngine: The model is missing, is damaged or does not match the bundle.
        MissingDevice: TensorFlow does not find the device.
    """
    if device is not None:
        check_device(device, "tensorflow")
    file = folder / record.model
    try:
        with _device_scope(device):
            loaded = tf.saved_model.load(str(file))
        signature = loaded.signatures["serving_default"]
        found = signature.structured_input_signature[1]["images"].shape[-1]
        channels = found, signature.structured_outputs["probabilities"].shape[-1]
    except Exception as error:  # TensorFlow raises many classes of errors for damaged files
        raise UnreadableEngine(file=file, found=" ".join(str(error).split())[:200]) from None
    check_channels(file, found=channels, expected=(bundle.inputs, bundle.outputs))
    return SavedModelEngine(loaded, bundle, device=device)


def _device_scope(device: Device | None) -> AbstractContextManager[Any]:
    return nullcontext() if device is None else tf.device(str(device))
