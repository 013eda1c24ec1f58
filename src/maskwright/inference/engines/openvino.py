"""An engine for OpenVINO models, the fastest runtime on a CPU; it starts without a training framework."""

import contextlib
import os
import platform
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from maskwright.inference.bundle import Bundle
from maskwright.inference.engines.openvino_runtime import core
from maskwright.inference.engines.record import EnginePrecision, EngineRecord, UnreadableEngine, check_channels

_DEVICE: Final = "CPU"
_ONE_CALL: Final = {"PERFORMANCE_HINT": "LATENCY"}  # all processors for one call
_SEVERAL: Final = {"PERFORMANCE_HINT": "THROUGHPUT", "PERFORMANCE_HINT_NUM_REQUESTS": "8"}  # several calls at once

_Compile = Callable[[Mapping[str, str]], Any]
"""Compiles the model with the engine's options and the given ones."""


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
        """Compile the same network for several calls at once, each on its own processors.

        A call on all processors waits for the slowest of its threads, which other work on the machine delays.
        """
        return OpenVinoEngine(self._compile, self.bundle, _SEVERAL)


def open_exported(folder: Path, record: EngineRecord, bundle: Bundle, *, threads: int | None = None) -> OpenVinoEngine:
    """Open an exported engine: compile its model, or load it from the cache of compiled models.

    Raises:
        UnreadableEngine: The model is missing or damaged, or does not fit the bundle.
    """
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
    """Return the OpenVINO options for computing in ``precision``; f32 on a processor without bf16.

    f32 needs an option too, because OpenVINO uses bf16 by default where the processor has it. The model itself marks
    its int8 layers; the options apply to the others.
    """
    has_bf16 = "BF16" in core().get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")
    precise = {"INFERENCE_PRECISION_HINT": "bf16" if precision != "f32" and has_bf16 else "f32"}
    # Pinning would put the single threads of several processes on the first processor.
    return precise | {"ENABLE_CPU_PINNING": "NO"}


def _channels(port: Any) -> int | None:
    last = port.partial_shape[-1]
    return last.get_length() if last.is_static else None


def _cache(weights: str) -> dict[str, str]:
    """Return the option for a cache of compiled models, one folder per network; none if it cannot be written."""
    folder = _cache_root() / "maskwright" / "openvino" / weights[:16]
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return {"CACHE_DIR": str(folder)}
    return {}


def _cache_root() -> Path:
    """Return the cache folder of this system's user."""
    if folder := os.environ.get("XDG_CACHE_HOME"):
        return Path(folder)
    if platform.system() == "Windows":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local")
    return Path.home() / ("Library/Caches" if platform.system() == "Darwin" else ".cache")
