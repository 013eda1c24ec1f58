"""Many files through an engine: each to its mask, failures kept to the end, a second call going on where it was."""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from maskwright.errors import InputError
from maskwright.images.files import expand_inputs
from maskwright.images.overlay import overlay, to_display
from maskwright.images.read import read_image
from maskwright.images.write import write_image, write_json, write_mask, write_probabilities
from maskwright.inference.engine import Engine
from maskwright.inference.predict import predict_indices, predict_probabilities

Output = Literal["ids", "probabilities"]
MANIFEST = ".maskwright.json"
_SUFFIXES: dict[Output, str] = {"ids": ".png", "probabilities": ".tif"}


class OutputsExist(InputError):
    """The output folder holds files that this command did not write."""

    text = "{folder}: {found}; name another folder, or add --overwrite to replace them."


class OutputIsInput(InputError):
    """A result would replace one of the images it is made from."""

    text = "{file}: its mask would be written over an image that is read; name another output folder."


@dataclass(frozen=True)
class Job:
    """What is done to every file."""

    engine: Engine
    engine_id: str
    """A name of the engine's weights: results of another engine are never taken for this one's."""
    output: Output = "ids"
    overlay: bool = False

    def key(self) -> dict[str, object]:
        """All that decides a result, besides the image."""
        bundle = hashlib.sha256(self.engine.bundle.model_dump_json().encode()).hexdigest()
        return {"engine": self.engine_id, "bundle": bundle, "output": self.output, "overlay": self.overlay}


@dataclass(frozen=True)
class Result:
    """What became of one file: written, found already done, or failed with an error."""

    source: Path
    written: Path | None = None
    already_done: bool = False
    error: InputError | None = None


def predict_files(
    job: Job,
    inputs: Iterable[str | Path],
    out: Path,
    *,
    overwrite: bool = False,
    done: Callable[[int, int, Result], None] = lambda number, total, result: None,
) -> list[Result]:
    """Predict files, folders and globs into ``out``: a PNG of mask values, or a TIFF of probabilities, for each image.

    A file that fails is reported in its result and the others are still done. Results of an earlier call with the same
    engine and settings are kept where they are newer than their image.

    Args:
        job: What is done.
        inputs: Images; folders are read with their subfolders, whose layout ``out`` repeats.
        out: Folder for the results, made if missing.
        overwrite: Replace results that are there already.
        done: Called after each file with its number, the total and the result.

    Raises:
        MissingInputs, EmptyFolder, SameOutput: The inputs cannot be listed.
        OutputsExist: ``out`` holds results of another engine or other settings, or files of the same names.
        OutputIsInput: An image would be written over.
    """
    files = expand_inputs(inputs)
    goals = [(source, out / relative.with_suffix(_SUFFIXES[job.output])) for source, relative in files]
    sources = {source.resolve() for source, _ in files}
    for source, goal in goals:
        if goal.resolve() in sources:
            raise OutputIsInput(file=source)
    going_on = _claim(out, job, [goal for _, goal in goals], overwrite=overwrite)
    results = []
    for number, (source, goal) in enumerate(goals, start=1):
        if going_on and _is_done(goal, source, out / MANIFEST) and (not job.overlay or overlay_path(goal).exists()):
            result = Result(source, goal, already_done=True)
        else:
            result = _predict_file(job, source, goal)
        results.append(result)
        done(number, len(goals), result)
    return results


def overlay_path(goal: Path) -> Path:
    """Where the overlay of a result lies: ``a.png`` has ``a.overlay.png`` beside it."""
    return goal.with_suffix(".overlay.png")


def _predict_file(job: Job, source: Path, goal: Path) -> Result:
    bundle = job.engine.bundle
    try:
        image = read_image(source)
        if job.output == "ids":
            probabilities, indices = None, predict_indices(job.engine, image, file=source)
        else:
            probabilities = predict_probabilities(job.engine, image, file=source)
            indices = bundle.decide(probabilities)
    except InputError as error:
        return Result(source, error=error)
    if job.overlay:
        picture = to_display(image, bundle.normalisation)
        write_image(overlay_path(goal), overlay(picture, indices, labels=bundle.labels))
    # The result itself comes last: where it is there, all of it is there.
    if probabilities is None:
        write_mask(goal, bundle.values(indices))
    else:
        write_probabilities(goal, probabilities)
    return Result(source, goal)


def _claim(out: Path, job: Job, goals: list[Path], *, overwrite: bool) -> bool:
    """Mark ``out`` as this job's; whether an earlier call of the same job left results to keep."""
    manifest, key = out / MANIFEST, job.key()
    earlier = _read(manifest)
    there = sum(goal.exists() for goal in goals)
    if earlier == key and not overwrite:
        return True
    if there and not overwrite:
        found = "holds results of another network or settings" if earlier else f"holds {there} files of these names"
        raise OutputsExist(folder=out, found=found)
    write_json(manifest, key)
    return False


def _read(manifest: Path) -> object:
    try:
        return json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _is_done(goal: Path, source: Path, manifest: Path) -> bool:
    """Whether a result was made from this image, by this job: older ones are being replaced."""
    if not goal.exists():
        return False
    return goal.stat().st_mtime_ns > max(source.stat().st_mtime_ns, manifest.stat().st_mtime_ns)
