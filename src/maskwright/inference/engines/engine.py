"""The engine protocol, and functions that open the engine of a run or an export."""

import hashlib
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import InputError, missing_package
from maskwright.inference.bundle import BUNDLE_FILE, Bundle
from maskwright.inference.device import Device
from maskwright.inference.engines.record import EngineRecord, Runtime, UnreadableEngine, is_exported, model_digest

NETWORK_FILE: Final = "model.keras"

# The adapter module of each runtime, the package it needs, and the extra that installs it.
_RUNTIMES: Final[Mapping[Runtime, tuple[str, str, str]]] = {
    "openvino": ("openvino", "OpenVINO", "maskwright[openvino]"),
    "onnx": ("onnx", "ONNX Runtime", "maskwright[onnx]"),
    "litert": ("litert", "LiteRT", "maskwright[litert]"),
    "saved_model": ("saved_model", "TensorFlow", "maskwright[tensorflow]"),
}


class Engine(Protocol):
    """A network opened in any runtime; several threads may share it."""

    bundle: Bundle

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probabilities (n, h, w, outputs) of prepared images (n, h, w, inputs).

        Heights and widths are multiples of the bundle's ``multiple``.
        """
        ...


@runtime_checkable
class SupportsParallelCalls(Protocol):
    """An engine that can divide the processors among several simultaneous calls, which is faster for many images."""

    def for_parallel_calls(self) -> "ParallelEngine":
        """Return an engine of the same network that computes several calls at once."""
        ...


class ParallelEngine(Engine, Protocol):
    """An engine that computes several calls at once, one for each calling thread."""

    calls: int
    """Number of calls that are computed at once."""


class NotARun(InputError):
    """A folder that is neither a run nor an export."""

    text = "{folder}: not a run: {found}; expected a folder written by `maskwright train --out`, with {expected}."


def open_engine(folder: str | Path, *, threads: int | None = None, device: Device | None = None) -> Engine:
    """Open the engine of a run, which requires Keras, or of an export, which requires only its runtime.

    Args:
        folder: Folder of the run or the export.
        threads: Maximum number of threads of an OpenVINO, ONNX Runtime or LiteRT engine, all processors by default;
            other engines ignore it.
        device: Device that computes. If absent, the framework of a run or SavedModel chooses the device, and other
            engines use the CPU.

    Raises:
        NotARun: The folder does not exist, or it contains no bundle or no network.
        UnreadableBundle: The bundle is damaged.
        UnreadableEngine, UnreadableNetwork: The network is damaged or does not match the bundle.
        MissingPackage: Keras or the runtime of the export is not installed.
        MissingDevice: The framework or the runtime cannot compute on the device.
    """
    folder = Path(folder)
    exported = is_exported(folder)
    needed = (BUNDLE_FILE,) if exported else (BUNDLE_FILE, NETWORK_FILE)
    expected = " and ".join(needed)
    if not folder.is_dir():
        found = "it is a file" if folder.exists() else "there is no such folder"
        raise NotARun(folder=folder, found=found, expected=expected)
    for name in needed:
        if not (folder / name).is_file():
            raise NotARun(folder=folder, found=f"{name} is missing", expected=expected)
    bundle = Bundle.read(folder)
    return _open_exported(folder, bundle, threads, device) if exported else _open_run(folder, bundle, device)


def needs_framework(folder: str | Path) -> bool:
    """Return whether opening the engine in ``folder`` loads a training framework, which takes seconds.

    Raises:
        UnreadableEngine: The record of the engine is damaged.
    """
    return not is_exported(folder) or EngineRecord.read(Path(folder)).runtime == "saved_model"


def weights_digest(folder: Path) -> str:
    """Return a digest of the weights of a run or an export, which identifies the network that produced a result."""
    if is_exported(folder):
        return EngineRecord.read(folder).weights
    return hashlib.sha256((folder / NETWORK_FILE).read_bytes()).hexdigest()


def _open_run(folder: Path, bundle: Bundle, device: Device | None) -> Engine:
    try:
        from maskwright.inference.engines.keras import load_keras_engine
    except ImportError as error:
        purpose, install = f"Opening {folder / NETWORK_FILE}", "maskwright[tensorflow]"
        raise missing_package(purpose, "Keras and a backend", install=install, reason=error) from None
    return load_keras_engine(folder / NETWORK_FILE, bundle, device=device)


def _open_exported(folder: Path, bundle: Bundle, threads: int | None, device: Device | None) -> Engine:
    record = EngineRecord.read(folder)
    if model_digest(folder, record.model) != record.weights:
        raise UnreadableEngine(file=folder / record.model, found="its SHA-256 differs from that of the export")
    module, package, install = _RUNTIMES[record.runtime]
    try:
        runtime = import_module(f"maskwright.inference.engines.{module}")
    except ImportError as error:
        raise missing_package(f"Engine {folder}", package, install=install, reason=error) from None
    return runtime.open_exported(folder, record, bundle, threads=threads, device=device)
