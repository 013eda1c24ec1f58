"""Convert a run to an inference engine and verify the engine before its folder is put in place."""

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import keras

from maskwright.errors import missing_package, one_of
from maskwright.export.calibrate import calibration_patches
from maskwright.export.output_folder import check_engine_folder
from maskwright.export.trace import check_backend
from maskwright.export.verify import BOUNDS, EngineDisagrees, check_engine, exceeded_bounds, require_score
from maskwright.images.atomic_folder import atomic_folder
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
from maskwright.rewrite.for_export import rewrite_for_export
from maskwright.training.run import Run


@dataclass(frozen=True)
class Target:
    """A file format in which engines are written.

    Attributes:
        module: Name of the module in this package that exports networks; its `write(network, folder)` returns the name
            of the model file.
        packages: Names of the packages whose versions are recorded in ``engine.json``.
        install: Requirement specifier with which pip installs the packages.
        calibrated: Whether the module has `attempts(network, folder, patches)` instead of `write`; it yields
            increasingly accurate model files.
    """

    module: str
    packages: tuple[str, ...]
    install: str
    calibrated: bool = False


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
    """Convert the run in ``run`` to an engine in ``out``, which `open_engine` and every command accept.

    The engine is loaded from disk and verified before the folder is put in place. On some validation images, its
    predictions are compared with those of the network; on all validation images, its score is compared with that of the
    run. If the differences are too large, nothing is written.

    Args:
        run: Folder of a complete run, trained on any backend. Its validation images are required.
        out: New or empty folder for the engine.
        to: Runtime for which the engine is written: ``openvino`` (the fastest on a CPU), ``onnx``, ``litert`` or
            ``saved_model``.
        precision: Numeric precision of the engine: ``f32`` or, for OpenVINO only, ``bf16`` or ``int8``. On processors
            without bf16, f32 is used. ``int8`` is calibrated on training images of the run. If the differences exceed a
            bound, the layers with the largest quantisation errors, at most half of all layers, remain in bf16 or f32.
        rewrite: Whether to replace the graph with an equivalent one of lower computational cost before the export.
        overwrite: Whether to replace an existing engine.
        progress: Function called after each image with the number of finished images and the total; for int8, the count
            restarts at each attempt.

    Returns:
        Contents of ``engine.json``, including the results of the verification.

    Raises:
        NotARun, UnscoredRun: ``run`` is not a complete run, or it was converted and has no scores.
        OutputExists, OutputNotEmpty, OutputHoldsOtherFiles: ``out`` contains files or an engine that may not be
            replaced.
        UnknownChoice: The runtime or the precision is unknown.
        NeedsTensorFlow: Keras runs on a backend other than TensorFlow.
        MissingPackage: A package that writes the engine is not installed.
        EngineDisagrees: A difference between the engine and the network exceeds a bound in `BOUNDS`.
        InputError: The network, a validation pair or a calibration image cannot be read.
    """
    source, out = _scored(run), Path(out)
    precisions = one_of("to", to, TARGETS)
    target = one_of(f"precision of {to}", precision, precisions)
    check_backend()
    check_engine_folder(out, overwrite=overwrite)
    try:
        exporter, versions = import_module(f"maskwright.export.{target.module}"), _versions(target)
    except ImportError as error:
        packages = " and ".join(target.packages or ("tensorflow",))
        raise missing_package(f"Exporting to {to}", packages, install=target.install, reason=error) from None
    bundle, data = Bundle.read(source.folder), source.read_recipe().data
    reference = load_keras_engine(source.network, bundle)
    with atomic_folder(out, is_complete=is_exported) as folder:
        network = rewrite_for_export(reference.network) if rewrite else reference.network
        bundle.write(folder)
        if target.calibrated:
            attempts = exporter.attempts(
                network, folder, list(calibration_patches(source.read_split()["train"], bundle))
            )
        else:
            attempts = [(exporter.write(network, folder), ())]
        for model, reverted in attempts:
            record = EngineRecord(
                runtime=to,
                precision=precision,
                model=model,
                weights=model_digest(folder, model),
                rewritten=rewrite,
                reverted=reverted,
                mask_values={str(value): word for value, word in (data.mask_values or {}).items()},
                mask_suffix=data.mask_suffix,
                versions=versions,
            )
            record.write(folder)
            checks = check_engine(
                source,
                reference=with_test_time_augmentation(reference, bundle.tta),
                engine=with_test_time_augmentation(open_engine(folder), bundle.tta),
                bounds=BOUNDS[precision],
                progress=progress,
            )
            if not exceeded_bounds(checks):
                break
        _require_agreement(source, record, checks)
        record = record.model_copy(update={"checks": checks})
        record.write(folder)
    return record


def _scored(folder: str | Path) -> Run:
    """Return the run in ``folder``; an error is raised if it has no scores or no validation pairs."""
    run = Run(Path(folder))
    if not (run.bundle.is_file() and run.network.is_file()):
        run = Run.open(folder)
    require_score(run)
    return run


def _require_agreement(run: Run, record: EngineRecord, checks: ExportChecks) -> None:
    exceeded = exceeded_bounds(checks)
    if exceeded:
        remedy = "Please report this" if record.precision == "f32" else "Export with --precision f32"
        raise EngineDisagrees(
            run=run.folder, to=record.runtime, precision=record.precision, found="; ".join(exceeded), remedy=remedy
        )


def _versions(target: Target) -> dict[str, str]:
    import tensorflow as tf

    packages = {name: _version(name) for name in ("maskwright", *target.packages)}
    return packages | {"keras": keras.__version__, "tensorflow": tf.__version__, "python": platform.python_version()}


def _version(package: str) -> str:
    """Return the version of a package or, for ONNX Runtime, of the package that also supports GPUs."""
    try:
        return version(package)
    except PackageNotFoundError:
        if package != "onnxruntime":
            raise
        return version("onnxruntime-gpu")
