"""Many files through an engine: each to its mask, failures kept to the end, a second call going on where it was."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from maskwright.errors import InputError
from maskwright.images.files import SameOutput, expand_inputs
from maskwright.images.overlay import overlay, to_display
from maskwright.images.write import write_image, write_json, write_mask, write_probabilities, write_text
from maskwright.inference.bounded_pool import Crew
from maskwright.inference.completed_files import Finished, file_state
from maskwright.inference.load_predictor import Predictor
from maskwright.inference.pipeline import HELD, Failed, Numbered, Prediction, predictions

Output = Literal["ids", "probabilities"]
MANIFEST = ".maskwright.json"
OVERWRITING = ".maskwright.overwriting"
"""There, with the name of its job, from the beginning of a call with ``overwrite`` until one has come to its end."""
_SUFFIXES: dict[Output, str] = {"ids": ".png", "probabilities": ".tif"}


class OutputsExist(InputError):
    """The output folder holds files that this command did not write."""

    text = "{folder}: {found}; name another folder, or add --overwrite to replace them."


class OutputIsInput(InputError):
    """A result would replace one of the images it is made from."""

    text = "{file}: its mask would be written over an image that is read; name another output folder."


class OnlyResults(InputError):
    """Inputs that hold nothing but what lies in the output folder."""

    text = "{folder}: all that the inputs name lies in this output folder; expected images. Check the folder meant."


@dataclass(frozen=True)
class Job:
    """What is done to every file."""

    engine: Predictor
    engine_id: str
    """A name of the engine's weights: results of another engine are never taken for this one's."""
    output: Output = "ids"
    overlay: bool = False

    def key(self) -> dict[str, object]:
        """All that decides a result, besides the image."""
        bundle = hashlib.sha256(self.engine.bundle.model_dump_json().encode()).hexdigest()
        return {"engine": self.engine_id, "bundle": bundle, "output": self.output, "overlay": self.overlay}

    def results(self, goal: Path) -> list[Path]:
        """The files written for one image, ``goal`` last."""
        return [overlay_path(goal), goal] if self.overlay else [goal]


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

    Images are read, predicted in batches of one size, and written, all at once; memory does not grow with their number.
    A file that fails is reported in its result and the others are still done. Results of an earlier call with the same
    engine and settings are kept where neither they nor their images have changed since. ``out`` may lie in a folder
    of ``inputs``: what it holds is then no input.

    Args:
        job: What is done.
        inputs: Images; folders are read with their subfolders, whose layout ``out`` repeats.
        out: Folder for the results, made if missing.
        overwrite: Replace results that are there already. Where an earlier call with it, of the same engine and
            settings, did not come to its end, this one goes on with that: what it has replaced is kept.
        done: Called as each file is finished, in this thread, with how many are, the total and its result.

    Returns:
        A result for each file, in the order of ``inputs``.

    Raises:
        MissingInputs, EmptyFolder, OnlyResults: There is nothing to predict.
        SameOutput: A file would be written for two images.
        OutputsExist: ``out`` holds results of another engine or other settings, or files of the same names.
        OutputIsInput: An image would be written over.
        OSError: A result cannot be written; what was written before is whole and kept.
    """
    goals = _goals(job, inputs, out)
    finished = _claim(out, job, goals, overwrite=overwrite)
    results: dict[int, Result] = {}

    def report(number: int, result: Result) -> None:
        results[number] = result
        done(len(results), len(goals), result)

    left = []
    for number, (source, goal) in enumerate(goals):
        if finished.holds(source, job.results(goal)):
            report(number, Result(source, goal, already_done=True))
        else:
            left.append(Numbered(number, source))
    write = partial(_write, job, finished, [goal for _, goal in goals])
    stream = predictions(job.engine, left, probabilities=job.output == "probabilities")
    with closing(stream), Crew[tuple[int, Result]](limit=HELD) as writers:
        for prediction in stream:
            if isinstance(prediction, Failed):
                report(prediction.of.number, Result(prediction.of.file, error=prediction.error))
                continue
            cost = prediction.image.size + prediction.answer.size
            for written in writers.room(cost):
                report(*written)
            writers.ask(cost, write, prediction)
            for written in writers.ready():
                report(*written)
        for written in writers.rest():
            report(*written)
    (out / OVERWRITING).unlink(missing_ok=True)
    return [results[number] for number in range(len(goals))]


def overlay_path(goal: Path) -> Path:
    """Where the overlay of a result lies: ``a.png`` has ``a.overlay.png`` beside it."""
    return goal.with_suffix(".overlay.png")


def _goals(job: Job, inputs: Iterable[str | Path], out: Path) -> list[tuple[Path, Path]]:
    """Each image with the result that is written for it."""
    listed = expand_inputs(inputs)
    files = [(source, relative) for source, relative in listed if not _is_result(source, relative, out)]
    if listed and not files:
        raise OnlyResults(folder=out)
    goals = [(source, out / relative.with_suffix(_SUFFIXES[job.output])) for source, relative in files]
    sources, source_of = {source.resolve() for source, _ in files}, dict[Path, Path]()
    for source, goal in goals:
        for result in job.results(goal):
            if result.resolve() in sources:
                raise OutputIsInput(file=source)
            if result in source_of:
                raise SameOutput(file=source_of[result], other=source, output=result)
            source_of[result] = source
    return goals


def _is_result(source: Path, relative: Path, out: Path) -> bool:
    """Whether ``source`` was found only because ``out`` lies below the folder that was searched."""
    searched, out = source.parents[len(relative.parts) - 1].resolve(), out.resolve()
    return searched in out.parents and out in source.resolve().parents


def _write(job: Job, finished: Finished, goals: Sequence[Path], prediction: Prediction) -> tuple[int, Result]:
    """Write what was predicted; also decides the classes, which would keep the engine waiting in its own thread."""
    bundle, (number, source), goal = job.engine.bundle, prediction.of, goals[prediction.of.number]
    indices = prediction.indices(bundle)
    if job.overlay:
        picture = to_display(prediction.image, bundle.normalisation)
        write_image(overlay_path(goal), overlay(picture, indices, labels=bundle.labels))
    # The result itself comes last: where it is there, all of it is there.
    if job.output == "ids":
        write_mask(goal, bundle.values(indices))
    else:
        write_probabilities(goal, prediction.answer)
    finished.add(source, prediction.state, job.results(goal))
    return number, Result(source, goal)


def _claim(out: Path, job: Job, goals: Sequence[tuple[Path, Path]], *, overwrite: bool) -> Finished:
    """Mark ``out`` as this job's; what an earlier call of the same job has finished."""
    manifest, key = out / MANIFEST, job.key()
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()
    earlier, going_on = _read(manifest), out / OVERWRITING
    if earlier == key and not overwrite:
        return Finished.read(out, digest) or _adopt(out, job, digest, goals)
    if earlier == key and going_on.is_file() and going_on.read_bytes() == digest.encode():
        return Finished.read(out, digest) or Finished.start(out, digest)
    there = sum(result.exists() for _, goal in goals for result in job.results(goal))
    if there and not overwrite:
        found = "holds results of another network or settings" if earlier else f"holds {there} files of these names"
        raise OutputsExist(folder=out, found=found)
    finished = Finished.start(out, digest)
    write_json(manifest, key)
    if overwrite:
        write_text(going_on, digest)  # last: until it is there, nothing was replaced
    return finished


def _adopt(out: Path, job: Job, digest: str, goals: Sequence[tuple[Path, Path]]) -> Finished:
    """What a version that went by times alone has finished: results newer than their image and the manifest."""
    since = (out / MANIFEST).stat().st_mtime_ns
    finished = Finished.start(out, digest)
    for source, goal in goals:
        state, results = file_state(source), [file_state(result) for result in job.results(goal)]
        if state and all(results) and results[-1] and results[-1][1] > max(state[1], since):
            finished.add(source, state, job.results(goal))
    return finished


def _read(manifest: Path) -> object:
    try:
        return json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
