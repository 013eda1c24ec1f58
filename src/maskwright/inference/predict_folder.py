"""Predict masks for many files, write them to a folder and collect failures; a repeated call resumes the job."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from maskwright.errors import InputError
from maskwright.images.files import SameOutput, expand_inputs
from maskwright.images.overlay import overlay, to_display
from maskwright.images.write import write_image, write_json, write_mask, write_probabilities, write_text
from maskwright.inference.bounded_pool import BoundedPool
from maskwright.inference.bundle import OutputKind
from maskwright.inference.completed_files import CompletedFiles
from maskwright.inference.load_predictor import Predictor
from maskwright.inference.pipeline import MAX_HELD, FailedImage, NumberedFile, Prediction, predictions
from maskwright.inference.tiling.margin import check_margin

MANIFEST: Final = ".maskwright.json"
OVERWRITING: Final = ".maskwright.overwriting"
"""Name of the file that contains the digest of the job while a call with ``overwrite`` is unfinished."""
_SUFFIXES: Final[dict[OutputKind, str]] = {"ids": ".png", "probabilities": ".tif"}


class OutputsExist(InputError):
    """An output folder that contains files not written by this job."""

    text = "{folder}: contains {found}; name another folder, or add --overwrite to replace them."


class OutputIsInput(InputError):
    """A result whose file would replace an input image."""

    text = "{file}: its mask would replace an input image; name another output folder."


class OnlyResults(InputError):
    """Inputs that contain only files in the output folder."""

    text = "{folder}: all inputs are in this output folder; expected images. Check the folder name."


@dataclass(frozen=True)
class PredictionJob:
    """The settings of a prediction job, which apply to every file."""

    engine: Predictor
    engine_id: str
    """Digest of the engine weights; results of another engine are never reused."""
    output: OutputKind = "ids"
    overlay: bool = False
    margin: int | None = None
    """Margin of blocks in pixels; see `maskwright.inference.predict_image.predict_probabilities`."""

    def key(self) -> dict[str, object]:
        """Return all settings that, together with the image, determine a result."""
        bundle = hashlib.sha256(self.engine.bundle.model_dump_json().encode()).hexdigest()
        settings = {"output": self.output, "overlay": self.overlay, "margin": self.margin}
        return {"engine": self.engine_id, "bundle": bundle, **settings}

    def result_files(self, target: Path) -> list[Path]:
        """Return the files that are written for one image, ``target`` last."""
        return [overlay_path(target), target] if self.overlay else [target]


@dataclass(frozen=True)
class FileResult:
    """The outcome for one file: written, already complete, or failed with an error."""

    source: Path
    written: Path | None = None
    already_done: bool = False
    error: InputError | None = None


def predict_files(
    job: PredictionJob,
    inputs: Iterable[str | Path],
    out: Path,
    *,
    overwrite: bool = False,
    done: Callable[[int, int, FileResult], None] = lambda number, total, result: None,
) -> list[FileResult]:
    """Predict masks for images and write a PNG of mask values or a TIFF of probabilities for each image to ``out``.

    Reading, prediction in batches of images of equal size, and writing run concurrently, and memory use does not grow
    with the number of images. If an image cannot be processed, the error is reported in its result, and the other
    images are still processed. Results of an earlier call with the same engine and settings are kept if neither they
    nor their images have changed. ``out`` may be inside a folder of ``inputs``; its files are then excluded from the
    inputs.

    Args:
        job: Engine and settings of the prediction job.
        inputs: Image files, folders and globs. Folders are searched recursively, and their subfolders are recreated in
            ``out``.
        out: Folder for the results, created if missing.
        overwrite: Whether to replace existing results. If an earlier call with ``overwrite`` and the same engine and
            settings was interrupted, this call resumes it and keeps the results that it replaced.
        done: Function called in this thread after each file with the number of finished files, the total and the
            result.

    Returns:
        A result for each file, in the order of ``inputs``.

    Raises:
        WrongArgument: The margin is out of range.
        MissingInputs, EmptyFolder, OnlyResults: The inputs contain no image to process.
        SameOutput: Two images have the same output file.
        OutputsExist: ``out`` contains results of another engine or other settings, or other files of the same names.
        OutputIsInput: A result would replace an input image.
        OSError: A result cannot be written; earlier results are complete and kept.
    """
    check_margin(job.margin)
    targets = _targets(job, inputs, out)
    completed = _claim(out, job, targets, overwrite=overwrite)
    results: dict[int, FileResult] = {}

    def add_result(number: int, result: FileResult) -> None:
        results[number] = result
        done(len(results), len(targets), result)

    remaining = []
    for number, (source, target) in enumerate(targets):
        if completed.holds(source, job.result_files(target)):
            add_result(number, FileResult(source, target, already_done=True))
        else:
            remaining.append(NumberedFile(number, source))
    write = partial(_write, job, completed, [target for _, target in targets])
    stream = predictions(job.engine, remaining, probabilities=job.output == "probabilities", margin=job.margin)
    with closing(stream), BoundedPool[tuple[int, FileResult]](limit=MAX_HELD) as writers:
        for prediction in stream:
            if isinstance(prediction, FailedImage):
                add_result(prediction.source.number, FileResult(prediction.source.file, error=prediction.error))
                continue
            cost = prediction.image.size + prediction.values.size
            for written in writers.make_room(cost):
                add_result(*written)
            writers.submit(cost, write, prediction)
            for written in writers.finished():
                add_result(*written)
        for written in writers.rest():
            add_result(*written)
    (out / OVERWRITING).unlink(missing_ok=True)
    return [results[number] for number in range(len(targets))]


def overlay_path(target: Path) -> Path:
    """Return the path of a result's overlay: ``a.overlay.png`` for ``a.png``."""
    return target.with_suffix(".overlay.png")


def _targets(job: PredictionJob, inputs: Iterable[str | Path], out: Path) -> list[tuple[Path, Path]]:
    """Return a pair (image, path of its result) for each image."""
    listed = expand_inputs(inputs)
    files = [(source, relative) for source, relative in listed if not _is_result(source, relative, out)]
    if listed and not files:
        raise OnlyResults(folder=out)
    targets = [(source, out / relative.with_suffix(_SUFFIXES[job.output])) for source, relative in files]
    sources, source_of = {source.resolve() for source, _ in files}, dict[Path, Path]()
    for source, target in targets:
        for result in job.result_files(target):
            if result.resolve() in sources:
                raise OutputIsInput(file=source)
            if result in source_of:
                raise SameOutput(file=source_of[result], other=source, output=result)
            source_of[result] = source
    return targets


def _is_result(source: Path, relative: Path, out: Path) -> bool:
    """Return whether ``source`` is inside ``out`` and ``out`` is inside the folder that was searched."""
    searched, out = source.parents[len(relative.parts) - 1].resolve(), out.resolve()
    return searched in out.parents and out in source.resolve().parents


def _write(
    job: PredictionJob, completed: CompletedFiles, targets: Sequence[Path], prediction: Prediction
) -> tuple[int, FileResult]:
    """Decide the classes and write a prediction, in a thread of a pool so that the engine need not wait."""
    bundle, (number, source), target = job.engine.bundle, prediction.source, targets[prediction.source.number]
    indices = prediction.indices(bundle)
    if job.overlay:
        picture = to_display(prediction.image, bundle.normalisation)
        write_image(overlay_path(target), overlay(picture, indices, labels=bundle.labels))
    # The target is written last: if it exists, all files of the image are complete.
    if job.output == "ids":
        write_mask(target, bundle.values(indices))
    else:
        write_probabilities(target, prediction.values)
    completed.add(source, prediction.state, job.result_files(target))
    return number, FileResult(source, target)


def _claim(out: Path, job: PredictionJob, targets: Sequence[tuple[Path, Path]], *, overwrite: bool) -> CompletedFiles:
    """Claim ``out`` for this job and return the results that an earlier call of the same job has completed."""
    manifest, key = out / MANIFEST, job.key()
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()
    earlier, overwriting = _read_manifest(manifest), out / OVERWRITING
    interrupted = overwriting.is_file() and overwriting.read_bytes() == digest.encode()
    if earlier == key and (interrupted or not overwrite):
        return CompletedFiles.read_or_start(out, digest)
    existing = sum(result.exists() for _, target in targets for result in job.result_files(target))
    if (existing or earlier) and not overwrite:
        names = "1 file with the name" if existing == 1 else f"{existing} files with the names"
        found = "results of another network or other settings" if earlier else f"{names} of these results"
        raise OutputsExist(folder=out, found=found)
    completed = CompletedFiles.start(out, digest)
    write_json(manifest, key)
    if overwrite:
        write_text(overwriting, digest)  # last, because no result is replaced before it exists
    return completed


def _read_manifest(manifest: Path) -> object:
    try:
        return json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
