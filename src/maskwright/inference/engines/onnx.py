"""An engine for ONNX models, which ONNX Runtime runs on the CPU."""

from pathlib import Path
from typing import final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from maskwright.inference.bundle import Bundle
from maskwright.inference.engines.record import EngineRecord, UnreadableEngine, check_channels


@final
class OnnxEngine:
    """An ONNX Runtime session as an `Engine`, for batches of any size."""

    def __init__(self, session: onnxruntime.InferenceSession, bundle: Bundle) -> None:
        self.session = session
        self.bundle = bundle
        self._input = session.get_inputs()[0].name

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probabilities (n, h, w, outputs) of prepared images (n, h, w, inputs)."""
        return self.session.run(None, {self._input: np.ascontiguousarray(images, np.float32)})[0]


def open_exported(folder: Path, record: EngineRecord, bundle: Bundle, *, threads: int | None = None) -> OnnxEngine:
    """Open an exported ONNX engine.

    Raises:
        UnreadableEngine: The model is missing, is damaged or does not match the bundle.
    """
    file, options = folder / record.model, onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0  # 0 means all processors
    try:
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the error classes of ONNX Runtime share no base class
        raise UnreadableEngine(file=file, found=" ".join(str(error).split())[:200]) from None
    channels = session.get_inputs()[0].shape[-1], session.get_outputs()[0].shape[-1]
    check_channels(file, found=channels, expected=(bundle.inputs, bundle.outputs))
    return OnnxEngine(session, bundle)
