"""An engine for ONNX models, which ONNX Runtime runs on the CPU or on a GPU."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from maskwright.inference.bundle import Bundle
from maskwright.inference.device import CPU, Device, missing_device
from maskwright.inference.engines.record import EngineRecord, UnreadableEngine, check_channels

_CPU_PROVIDER: Final = "CPUExecutionProvider"
_CUDA_PROVIDER: Final = "CUDAExecutionProvider"
_GPU_PROVIDERS: Final = (_CUDA_PROVIDER, "MIGraphXExecutionProvider")  # for NVIDIA and AMD

_ProviderList = Sequence[str | tuple[str, Mapping[str, str]]]


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


def open_exported(
    folder: Path, record: EngineRecord, bundle: Bundle, *, threads: int | None = None, device: Device | None = None
) -> OnnxEngine:
    """Open an exported ONNX engine.

    Raises:
        UnreadableEngine: The model is missing, is damaged or does not match the bundle.
        MissingDevice: ONNX Runtime has no execution provider for the device, or cannot start it.
    """
    file, options = folder / record.model, onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0  # 0 means all processors
    session = _open_on_cpu(file, options) if device is None or device == CPU else _open_on_gpu(file, options, device)
    channels = session.get_inputs()[0].shape[-1], session.get_outputs()[0].shape[-1]
    check_channels(file, found=channels, expected=(bundle.inputs, bundle.outputs))
    return OnnxEngine(session, bundle)


def _open_on_cpu(file: Path, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    try:
        return onnxruntime.InferenceSession(file, options, providers=[_CPU_PROVIDER])
    except Exception as error:  # the error classes of ONNX Runtime share no base class
        raise UnreadableEngine(file=file, found=" ".join(str(error).split())[:200]) from None


def _open_on_gpu(file: Path, options: onnxruntime.SessionOptions, device: Device) -> onnxruntime.InferenceSession:
    """Open a session on a GPU. Only operations that the GPU's execution provider does not support run on the CPU.

    Raises:
        MissingDevice: There is no execution provider for the device, or it cannot be started.
    """
    installed = onnxruntime.get_available_providers()
    provider = next((name for name in _GPU_PROVIDERS if name in installed), None)
    if device.kind != "gpu" or provider is None:
        found = f"this installation of ONNX Runtime has only the execution providers {', '.join(installed)}"
        if provider is not None:
            raise missing_device(device, [CPU, Device("gpu")], found=found, remedy="")
        remedy = "For an NVIDIA GPU: pip uninstall onnxruntime, then pip install 'onnxruntime-gpu[cuda,cudnn]'."
        raise missing_device(device, [CPU], found=found, remedy=remedy)
    if provider == _CUDA_PROVIDER:
        onnxruntime.preload_dlls()  # loads CUDA and cuDNN from their Python packages, if these are installed
    providers: _ProviderList = [(provider, {"device_id": str(device.index)}), _CPU_PROVIDER]
    try:
        session = onnxruntime.InferenceSession(file, options, providers=providers, enable_fallback=0)
        reason = "its libraries or the driver are missing"
    except Exception as error:  # the model is not damaged, since its digest has been compared
        session, reason = None, " ".join(str(error).split())[:200]
    # Without its libraries, ONNX Runtime drops the provider and would compute on the CPU.
    if session is None or provider not in session.get_providers():
        found = f"ONNX Runtime cannot start {provider} on it ({reason})"
        remedy = "Check the index of the GPU, its driver, and the versions of CUDA and cuDNN."
        raise missing_device(device, [CPU], found=found, remedy=remedy)
    return session
