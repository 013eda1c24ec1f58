"""A run to an engine's folder: written, opened again, found to agree, and only then put in its place."""

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Final

import keras

from maskwright.errors import missing_package, one_of
from maskwright.export.calibrate import calibration_patches
from maskwright.export.output_folder import check_free
from maskwright.export.trace import check_backend
from maskwright.export.verify import BOUNDS, EngineDisagrees, check_engine, faults, read_score
from maskwright.images.atomic_folder import atomic_folder
from maskwright.images.write import write_text
from maskwright.inference.bundle import Bundle
from maskwright.inference.engines.engine import open_engine
from maskwright.inference.engines.keras import load_keras_engine
from maskwright.inference.engines.record import (
    EnginePrecision,
    EngineRecord,
    ExportChecks,
    Runtime,
    is_exported,
    model_digest,
)
from maskwright.inference.test_time_augmentation import with_test_time_augmentation
from maskwright.rewrite.for_export import rewrite as rewritten
from maskwright.training.run import Run


@dataclass(frozen=True)
class Target:
    """How a kind of engine is written."""

    module: str
    """Of this package; its `write(network, folder)` returns the name of what is to be opened."""
    packages: tuple[str, ...]
    """Whose versions are noted."""
    install: str
    """The requirement that pip installs them by."""
    calibrated: bool = False
    """Whether it has `attempts(network, folder, patches)` in place of that, which yields names as long as asked to."""


_OPENVINO: Final = Target("to_openvino", ("openvino",), "maskwright[openvino]")
TARGETS: Final[Mapping[str, Mapping[str, Target]]] = {
    "openvino": {
        "f32": _OPENVINO,
        "bf16": _OPENVINO,
        "int8": Target("quantise", ("openvino", "nncf"), "maskwright[int8]", calibrated=True),
    },
    "onnx": {"f32": Target("to_onnx", ("tf2onnx", "onnx", "onnxruntime"), "maskwright[onnx]")},
    "litert": {"f32": Target("to_litert", ("ai-edge-litert",), "maskwright[litert]")},
    "saved_model": {"f32": Target("to_saved_model", (), "maskwright[tensorflow]")},
}


def export_run(
    run: str | Path,
    out: str | Path,
    *,
    to: Runtime = "openvino",
    precision: EnginePrecision = "f32",
    rewrite: bool = True,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> EngineRecord:
    """Make an engine of the run in ``run``, in the folder ``out``, which `open_engine` and every command then take.

    The engine is opened from disk and compared with the run before it gets its name: on some validation images with
    the run's own network, and on all of them with the score the run had. Where they disagree, nothing is left behind.

    Args:
        run: The folder of a complete run, trained on any backend; its validation images must still be there.
        out: The engine's folder, new or empty.
        to: What is to compute it: ``openvino`` (the fastest on a CPU), ``onnx``, ``litert`` or ``saved_model``.
        precision: What it computes in; ``bf16`` and ``int8`` are for OpenVINO. ``bf16`` becomes f32 on a processor
            without it. ``int8`` is calibrated on the run's training images; as long as the engine passes a bound, ever
            more of the layers that cost most go back to bf16 or f32, up to half of them.
        rewrite: Whether the graph is first rewritten into a faster one of the same results.
        overwrite: Replace an engine that is there already.
        progress: Called with the images checked and all to check, after each one; in int8 again for every try.

    Returns:
        What was written as ``engine.json``, the checks among it.

    Raises:
        NotARun, UnscoredRun: ``run`` is no complete run, or its network was converted and not trained here.
        OutputHoldsAnEngine, OutputIsTaken: ``out`` cannot be used.
        UnknownChoice: There is no such target, or not in that precision.
        NeedsTensorFlow, MissingPackage: What writes the engine is not there.
        EngineDisagrees: The engine passes a bound of `BOUNDS`.
        InputError: The network, a validation pair or an image to calibrate on cannot be read.
    """
    source, out = _scored(run), Path(out)
    precisions = one_of("to", to, TARGETS)
    target = one_of(f"precision of {to}", precision, precisions)
    check_backend()
    check_free(out, overwrite=overwrite)
    try:
        exporter, versions = import_module(f"maskwright.export.{target.module}"), _versions(target)
    except ImportError as error:
        packages = " and ".join(target.packages or ("tensorflow",))
        raise missing_package(f"Exporting to {to}", packages, install=target.install, reason=error) from None
    bundle, data = Bundle.read(source.folder), source.read_recipe().data
    reference = load_keras_engine(source.network, bundle)
    with atomic_folder(out, is_complete=is_exported) as folder:
        network = rewritten(reference.network) if rewrite else reference.network
        bundle.write(folder, write_text)
        if target.calibrated:
            tries = exporter.attempts(network, folder, list(calibration_patches(source.read_split()["train"], bundle)))
        else:
            tries = [(exporter.write(network, folder), ())]
        for model, reverted in tries:
            exported = EngineRecord(
                kind=to,
                precision=precision,
                model=model,
                weights=model_digest(folder, model),
                rewritten=rewrite,
                reverted=reverted,
                mask_values={str(value): word for value, word in (data.mask_values or {}).items()},
                mask_suffix=data.mask_suffix,
                versions=versions,
            )
            exported.write(folder, write_text)
            checks = check_engine(
                source,
                reference=with_test_time_augmentation(reference, bundle.views),
                engine=with_test_time_augmentation(open_engine(folder), bundle.views),
                bounds=BOUNDS[precision],
                progress=progress,
            )
            if not faults(checks):
                break
        _refuse(source, exported, checks)
        exported = exported.model_copy(update={"checks": checks})
        exported.write(folder, write_text)
    return exported


def _scored(folder: str | Path) -> Run:
    """The run in ``folder``, which has what its engine is to be checked on."""
    run = Run(Path(folder))
    if not (run.bundle.is_file() and run.network.is_file()):
        run = Run.open(folder)
    read_score(run)
    return run


def _refuse(run: Run, exported: EngineRecord, checks: ExportChecks) -> None:
    found = faults(checks)
    if found:
        remedy = "please report it" if exported.precision == "f32" else "export it in f32"
        raise EngineDisagrees(
            run=run.folder, to=exported.kind, precision=exported.precision, found="; ".join(found), remedy=remedy
        )


def _versions(target: Target) -> dict[str, str]:
    import tensorflow as tf

    packages = {name: version(name) for name in ("maskwright", *target.packages)}
    return packages | {"keras": keras.__version__, "tensorflow": tf.__version__, "python": platform.python_version()}
