"""An engine for OpenVINO, the fastest runtime on a CPU, which needs no training framework."""

import contextlib
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from maskwright.inference.bundle import Bundle
from maskwright.inference.cache_folder import cache_folder
from maskwright.inference.device import Device, check_is_cpu
from maskwright.inference.engines.openvino_runtime import core
from maskwright.inference.engines.record import EnginePrecision, EngineRecord, UnreadableEngine, check_channels

_DEVICE: Final = "CPU"
_ONE_CALL: Final = {"PERFORMANCE_HINT": "LATENCY"}  # all processors for one call
_SEVERAL: Final = {"PERFORMANCE_HINT": "THROUGHPUT", "PERFORMANCE_HINT_NUM_REQUESTS": "8"}  # several calls at once

_Compile = Callable[[Mapping[str, str]], Any]
"""Function that compiles the model with the options of the engine and the given options."""


@final
class OpenVinoEngine:
    """A compiled OpenVINO model as an `Engine`, for batches of any size."""

    def __init__(self, compile_: _Compile, bundle: Bundle, hint: Mapping[str, str] = _ONE_CALL) -> None:
        self.bundle = bundle
        self._compile = compile_
        self.compiled = compile_(hint)
        self.calls: int = 1 if hint is _ONE_CALL else self.compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._idle = SimpleQueue[Any]()  # a request cannot compute two calls at once
        for _ in range(self.calls):
            self._idle.put(self.compiled.create_infer_request())

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probabilities (n, h, w, outputs) of prepared images (n, h, w, inputs)."""
        request = self._idle.get()
        try:
            return request.infer([np.ascontiguousarray(images, np.float32)], share_inputs=True)[0]
        finally:
            self._idle.put(request)

    def for_parallel_calls(self) -> "OpenVinoEngine":
        """Compile the network for several calls at once, each on processors of its own.

        A call on all processors waits for its slowest thread, which other work on the machine may delay.
        """
        return OpenVinoEngine(self._compile, self.bundle, _SEVERAL)


def open_exported(
    folder: Path, record: EngineRecord, bundle: Bundle, *, threads: int | None = None, device: Device | None = None
) -> OpenVinoEngine:
    """Open an exported OpenVINO engine: compile its model or load it from the cache of compiled models.

    Raises:
        UnreadableEngine: The model is missing, is damaged or does not match the bundle.
        MissingDevice: The device is not the CPU.
    """
    check_is_cpu(device, runtime="OpenVINO")
    file = folder / record.model
    try:
        model = core().read_model(file)
        channels = _channels(model.input(0)), _channels(model.output(0))
        check_channels(file, found=channels, expected=(bundle.inputs, bundle.outputs))
        options = compile_options(record.precision) | _cache(record.weights)
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = str(threads)
        return OpenVinoEngine(lambda hint: core().compile_model(model, _DEVICE, {**options, **hint}), bundle)
    except RuntimeError as error:
        raise UnreadableEngine(file=file, found=" ".join(str(error).split())[-200:]) from None


def compile_options(precision: EnginePrecision) -> dict[str, str]:
    """Return the OpenVINO options for computing in ``precision``, or in f32 on a processor without bf16.

    An option is needed for f32 too, because OpenVINO uses bf16 by default where the processor supports it. The int8
    layers are marked in the model itself; the options apply to the other layers.
    """
    has_bf16 = "BF16" in core().get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")
    precise = {"INFERENCE_PRECISION_HINT": "bf16" if precision != "f32" and has_bf16 else "f32"}
    # With pinning, the single threads of several processes would all run on the first processor.
    return precise | {"ENABLE_CPU_PINNING": "NO"}


def _channels(port: Any) -> int | None:
    last = port.partial_shape[-1]
    return last.get_length() if last.is_static else None


def _cache(weights: str) -> dict[str, str]:
    """Return the option that sets the cache folder of the compiled network, or no option if it is not writable."""
    folder = cache_folder() / "openvino" / weights[:16]
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return {"CACHE_DIR": str(folder)}
    return {}
