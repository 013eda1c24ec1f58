"""A LiteRT model as an engine: small to install, for phones and boards as well as for this CPU."""

from pathlib import Path
from threading import Lock
from typing import Any, final

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from maskwright.inference.bundle import Bundle
from maskwright.inference.engines.record import EngineRecord, UnreadableEngine, check_channels
from maskwright.inference.usable_cpus import usable_cpus


@final
class LiteRTEngine:
    """A LiteRT interpreter behind the `Engine` protocol; takes batches of any size, and plans anew for each."""

    def __init__(self, interpreter: Any, bundle: Bundle) -> None:
        self._interpreter = interpreter
        self._input = interpreter.get_input_details()[0]["index"]
        self._output = interpreter.get_output_details()[0]["index"]
        self._planned: tuple[int, ...] | None = None
        self._alone = Lock()  # an interpreter holds the tensors of one call
        self.bundle = bundle

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities, (n, h, w, outputs), of prepared images, (n, h, w, c)."""
        with self._alone:
            if self._planned != images.shape:
                self._interpreter.resize_tensor_input(self._input, images.shape)
                self._interpreter.allocate_tensors()
                self._planned = images.shape
            self._interpreter.set_tensor(self._input, np.ascontiguousarray(images, np.float32))
            self._interpreter.invoke()
            return self._interpreter.get_tensor(self._output)


def open_exported(folder: Path, exported: EngineRecord, bundle: Bundle, *, threads: int | None = None) -> LiteRTEngine:
    """The engine whose record and bundle are given.

    Raises:
        UnreadableEngine: The model is missing or damaged, or does not fit the bundle.
    """
    file = folder / exported.model
    try:
        interpreter = Interpreter(model_path=str(file), num_threads=threads or usable_cpus())
        takes, gives = interpreter.get_input_details(), interpreter.get_output_details()
        channels = int(takes[0]["shape_signature"][-1]), int(gives[0]["shape_signature"][-1])
    except (ValueError, RuntimeError, OSError) as error:
        raise UnreadableEngine(file=file, found=" ".join(str(error).split())[:200]) from None
    check_channels(file, found=channels, expected=(bundle.inputs, bundle.outputs))
    return LiteRTEngine(interpreter, bundle)
