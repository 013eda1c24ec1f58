"""What can predict: one small protocol, and the door that opens a run or an exported engine."""

import hashlib
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import InputError, missing_package
from maskwright.inference.bundle import BUNDLE_FILE, Bundle
from maskwright.inference.engines.record import (
    EngineRecord,
    Runtime,
    UnreadableEngine,
    is_exported,
    model_digest,
)

NETWORK_FILE = "model.keras"

# The module that opens each kind of engine, the package it needs, and what installs that.
_RUNTIMES: Final[Mapping[Runtime, tuple[str, str, str]]] = {
    "openvino": ("openvino", "OpenVINO", "maskwright[openvino]"),
    "onnx": ("onnx", "ONNX Runtime", "maskwright[onnx]"),
    "litert": ("litert", "LiteRT", "maskwright[litert]"),
    "saved_model": ("saved_model", "TensorFlow", "maskwright[tensorflow]"),
}


class Engine(Protocol):
    """A network that predicts, whatever computes it; threads may share it."""

    bundle: Bundle

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities, (n, h, w, outputs), of prepared images, (n, h, w, c) of sides the bundle allows."""
        ...


@runtime_checkable
class SupportsParallelCalls(Protocol):
    """An engine that can also divide the processors among several calls, which is faster where there are many."""

    def for_parallel_calls(self) -> "ParallelEngine":
        """The same network for calls at the same time."""
        ...


class ParallelEngine(Engine, Protocol):
    """An engine that computes several calls at once, one on each thread that calls."""

    calls: int


class NotARun(InputError):
    """A folder that neither a training nor an export wrote."""

    text = "{folder}: not a run: {found}; expected a folder that `maskwright train --out` wrote, with {expected}."


def open_engine(folder: str | Path, *, threads: int | None = None) -> Engine:
    """The engine in the folder of a run, which takes Keras to open, or of an export, which takes its runtime alone.

    Args:
        folder: The run's or the export's.
        threads: The most that an engine of OpenVINO, ONNX Runtime or LiteRT computes with; others, and None, use what
            they find.

    Raises:
        NotARun: The folder is missing, or holds no bundle or network.
        UnreadableBundle: The bundle is damaged.
        UnreadableEngine, UnreadableNetwork: The network is damaged, or does not fit the bundle.
        MissingPackage: What computes the network is not installed.
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
    return _open_exported(folder, bundle, threads) if exported else _open_run(folder, bundle)


def needs_framework(folder: str | Path) -> bool:
    """Whether opening the engine in ``folder`` loads a training framework, which talks and takes seconds.

    Raises:
        UnreadableEngine: The engine's record is damaged.
    """
    return not is_exported(folder) or EngineRecord.read(Path(folder)).kind == "saved_model"


def weights_digest(folder: Path) -> str:
    """A name of the weights in the folder of a run or an export, so that no result is taken for another network's."""
    if is_exported(folder):
        return EngineRecord.read(folder).weights
    return hashlib.sha256((folder / NETWORK_FILE).read_bytes()).hexdigest()


def _open_run(folder: Path, bundle: Bundle) -> Engine:
    try:
        from maskwright.inference.engines.keras import load_keras_engine
    except ImportError as error:
        purpose, install = f"Opening {folder / NETWORK_FILE}", "maskwright[tensorflow]"
        raise missing_package(purpose, "Keras and a backend", install=install, reason=error) from None
    return load_keras_engine(folder / NETWORK_FILE, bundle)


def _open_exported(folder: Path, bundle: Bundle, threads: int | None) -> Engine:
    exported = EngineRecord.read(folder)
    if model_digest(folder, exported.model) != exported.weights:
        raise UnreadableEngine(file=folder / exported.model, found="it is not what the export wrote, by its SHA-256")
    module, package, install = _RUNTIMES[exported.kind]
    try:
        runtime = import_module(f"maskwright.inference.engines.{module}")
    except ImportError as error:
        raise missing_package(f"Engine {folder}", package, install=install, reason=error) from None
    return runtime.open_exported(folder, exported, bundle, threads=threads)
