"""An OpenVINO model as an engine: what predicts fastest on a CPU, and starts without a training framework."""

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
_ONE_CALL: Final = {"PERFORMANCE_HINT": "LATENCY"}  # all processors on one call
_SEVERAL: Final = {"PERFORMANCE_HINT": "THROUGHPUT", "PERFORMANCE_HINT_NUM_REQUESTS": "8"}  # some on each of several

_Compile = Callable[[Mapping[str, str]], Any]
"""The compiled model, made with what is asked beside the engine's own options."""


@final
class OpenVinoEngine:
    """A compiled OpenVINO model behind the `Engine` protocol; takes batches of any size."""

    def __init__(self, compile_: _Compile, bundle: Bundle, hint: Mapping[str, str] = _ONE_CALL) -> None:
        self.bundle = bundle
        self._compile = compile_
        self.compiled = compile_(hint)
        self.calls: int = 1 if hint is _ONE_CALL else self.compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._idle = SimpleQueue[Any]()  # a request refuses a second call while it computes
        for _ in range(self.calls):
            self._idle.put(self.compiled.create_infer_request())

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities, (n, h, w, outputs), of prepared images, (n, h, w, c)."""
        request = self._idle.get()
        try:
            return request.infer([np.ascontiguousarray(images, np.float32)], share_inputs=True)[0]
        finally:
            self._idle.put(request)

    def for_parallel_calls(self) -> "OpenVinoEngine":
        """The same network compiled for several calls at once, each on processors of its own.

        No call waits for the slowest of its threads, which is what any other work on the machine makes of one.
        """
        return OpenVinoEngine(self._compile, self.bundle, _SEVERAL)


def open_exported(
    folder: Path, exported: EngineRecord, bundle: Bundle, *, threads: int | None = None
) -> OpenVinoEngine:
    """The engine whose record and bundle are given, compiled, or taken from the cache of what was compiled before.

    Raises:
        UnreadableEngine: The model is missing or damaged, or does not fit the bundle.
    """
    file = folder / exported.model
    try:
        model = core().read_model(file)
        channels = _channels(model.input(0)), _channels(model.output(0))
        check_channels(file, found=channels, expected=(bundle.inputs, bundle.outputs))
        options = compile_options(exported.precision) | _cache(exported.weights)
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = str(threads)
        return OpenVinoEngine(lambda hint: core().compile_model(model, _DEVICE, {**options, **hint}), bundle)
    except RuntimeError as error:
        raise UnreadableEngine(file=file, found=" ".join(str(error).split())[-200:]) from None


def compile_options(precision: EnginePrecision) -> dict[str, str]:
    """What OpenVINO must be told to compute in ``precision``; f32 where this processor has no bf16.

    Said for f32 too: left alone, it computes in bf16 wherever there is bf16. What is in int8 the model says itself;
    this is for the rest of it.
    """
    able = "BF16" in core().get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")
    precise = {"INFERENCE_PRECISION_HINT": "bf16" if precision != "f32" and able else "f32"}
    # Pinned, the only threads of several processes would all lie on the first processor.
    return precise | {"ENABLE_CPU_PINNING": "NO"}


def _channels(port: Any) -> int | None:
    last = port.partial_shape[-1]
    return last.get_length() if last.is_static else None


def _cache(weights: str) -> dict[str, str]:
    """Where OpenVINO keeps what it compiled, a folder for each network; no cache where none can be written."""
    folder = _cache_root() / "maskwright" / "openvino" / weights[:16]
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return {"CACHE_DIR": str(folder)}
    return {}


def _cache_root() -> Path:
    """Where this system keeps what can be made again."""
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given)
    if platform.system() == "Windows":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local")
    return Path.home() / ("Library/Caches" if platform.system() == "Darwin" else ".cache")
