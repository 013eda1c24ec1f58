"""An ONNX model as an engine, through ONNX Runtime on the CPU."""

from pathlib import Path
from typing import final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from maskwright.inference.bundle import Bundle
from maskwright.inference.engines.record import EngineRecord, UnreadableEngine, check_channels


@final
class OnnxEngine:
    """An ONNX Runtime session behind the `Engine` protocol; takes batches of any size."""

    def __init__(self, session: onnxruntime.InferenceSession, bundle: Bundle) -> None:
        self.session = session
        self.bundle = bundle
        self._input = session.get_inputs()[0].name

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities, (n, h, w, outputs), of prepared images, (n, h, w, c)."""
        return self.session.run(None, {self._input: np.ascontiguousarray(images, np.float32)})[0]


def open_exported(folder: Path, exported: EngineRecord, bundle: Bundle, *, threads: int | None = None) -> OnnxEngine:
    """The engine whose record and bundle are given.

    Raises:
        UnreadableEngine: The model is missing or damaged, or does not fit the bundle.
    """
    file, options = folder / exported.model, onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0  # 0: as many as there are
    try:
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # a dozen classes with no base of their own
        raise UnreadableEngine(file=file, found=" ".join(str(error).split())[:200]) from None
    channels = session.get_inputs()[0].shape[-1], session.get_outputs()[0].shape[-1]
    check_channels(file, found=channels, expected=(bundle.inputs, bundle.outputs))
    return OnnxEngine(session, bundle)
