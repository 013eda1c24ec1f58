"""An engine for LiteRT, a small runtime for phones, single-board computers and CPUs."""

from pathlib import Path
from threading import Lock
from typing import Any, final

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from maskwright.inference.bundle import Bundle
from maskwright.inference.device import Device, check_is_cpu
from maskwright.inference.engines.record import EngineRecord, UnreadableEngine, check_channels
from maskwright.inference.usable_cpus import usable_cpus


@final
class LiteRTEngine:
    """A LiteRT interpreter as an `Engine`; a change of the batch size reallocates its tensors."""

    def __init__(self, interpreter: Any, bundle: Bundle) -> None:
        self._interpreter = interpreter
        self._input = interpreter.get_input_details()[0]["index"]
        self._output = interpreter.get_output_details()[0]["index"]
        self._allocated: tuple[int, ...] | None = None
        self._call_lock = Lock()  # an interpreter stores the tensors of one call
        self.bundle = bundle

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probabilities (n, h, w, outputs) of prepared images (n, h, w, inputs)."""
        with self._call_lock:
            if self._allocated != images.shape:
                self._interpreter.resize_tensor_input(self._input, images.shape)
                self._interpreter.allocate_tensors()
                self._allocated = images.shape
            self._interpreter.set_tensor(self._input, np.ascontiguousarray(images, np.float32))
            self._interpreter.invoke()
            return self._interpreter.get_tensor(self._output)


def open_exported(
    folder: Path, record: EngineRecord, bundle: Bundle, *, threads: int | None = None, device: Device | None = None
) -> LiteRTEngine:
    """Open an exported LiteRT engine.

    Raises:
        UnreadableEngine: The model is missing, is damaged or does not match the bundle.
        MissingDevice: The device is not the CPU.
    """
    check_is_cpu(device, runtime="LiteRT")
    file = folder / record.model
    try:
        interpreter = Interpreter(model_path=str(file), num_threads=threads or usable_cpus())
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        channels = int(inputs[0]["shape_signature"][-1]), int(outputs[0]["shape_signature"][-1])
    except (ValueError, RuntimeError, OSError) as error:
        raise UnreadableEngine(file=file, found=" ".join(str(error).split())[:200]) from None
    check_channels(file, found=channels, expected=(bundle.inputs, bundle.outputs))
    return LiteRTEngine(interpreter, bundle)
