"""A finished run as a comparison needs it: counts of every validation image, history and cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from maskwright.compare.errors import DamagedRun, NoCounts, UnfinishedRun
from maskwright.errors import InputError
from maskwright.images.labels import IGNORED
from maskwright.metrics.scores import confusion_matrix
from maskwright.report.masks import truth_and_guess
from maskwright.report.run_contents import Contents, DamagedRunFile, Epoch, StoredScores, read_contents
from maskwright.training.evaluate import ClassPixels
from maskwright.training.recipe import Recipe


class Facts(BaseModel, frozen=True):
    """What a comparison says of ``run.json``; None where an older version did not write it."""

    stopped_by: str | None = None
    seconds: float | None = None
    steps: int | None = None
    parameters: int | None = None
    precision: str | None = None
    backend: str | None = None
    machine: str | None = None


@dataclass(frozen=True)
class ScoredRun:
    """A run and what it scored on each of its validation images."""

    folder: Path
    classes: tuple[str, ...]
    background: bool
    """Whether the first class is the background."""
    images: tuple[str, ...]
    pixels: NDArray[np.int64]
    """Hits, true and predicted pixels of each image and class, (images, 3, classes)."""
    seconds: tuple[float | None, ...]
    """Of predicting each image."""
    history: tuple[Epoch, ...]
    facts: Facts
    recipe: Recipe
    file_bytes: int
    """Size of the saved network."""


def read_run(folder: str | Path) -> ScoredRun:
    """The run in ``folder``, its files checked against each other.

    Raises:
        NotARun: The folder is missing or holds no recipe.
        UnfinishedRun: The run ended before its images were scored.
        DamagedRun, WrongRecipe, UnreadableBundle: A file of the run cannot be used.
        NoCounts: The run is of an older version, and its masks are not where they were.
    """
    try:
        contents = read_contents(folder)
        facts = Facts.model_validate(contents.facts or {})
    except DamagedRunFile as error:
        file = Path(str(error.fields["file"])).name
        raise DamagedRun(folder=folder, file=file, found=error.fields["found"]) from None
    except ValidationError as error:
        found = f"{error.errors()[0]['loc'][0]}: {error.errors()[0]['msg']}"
        raise DamagedRun(folder=folder, file="run.json", found=found) from None
    run, stored = contents.run, contents.stored
    written = run.bundle, run.split, run.history, run.network, run.scores, run.facts
    missing = next((file for file in written if not file.is_file()), None)
    if missing is not None or stored is None:
        raise UnfinishedRun(folder=folder, missing=(missing or run.scores).name)
    return ScoredRun(
        folder=Path(folder),
        classes=tuple(score.name for score in stored.scores.classes),
        background=stored.scores.background,
        images=tuple(image.name for image in stored.images),
        pixels=_pixels(contents, stored),
        seconds=tuple(image.seconds for image in stored.images),
        history=contents.history or (),
        facts=facts,
        recipe=contents.recipe,
        file_bytes=run.network.stat().st_size,
    )


def _pixels(contents: Contents, stored: StoredScores) -> NDArray[np.int64]:
    """The counts of every image, stored or taken again; their sum must be what the run says it scored."""
    kept = [image.pixels for image in stored.images]
    known = [counts for counts in kept if counts is not None]
    if len(known) < len(kept):
        known = _count_again(contents, stored)
    try:
        total = np.array(_rows(ClassPixels.count(np.array(stored.scores.confusion, np.int64))))
        pixels = np.array([_rows(counts) for counts in known], np.int64)
        add_up = np.array_equal(pixels.sum(axis=0), total) and pixels.min(initial=0) >= 0
    except (ValueError, OverflowError):  # rows of different lengths, numbers beyond any image's
        add_up = False
    if not add_up or pixels.shape[1:] != (3, len(stored.scores.classes)):
        found = "the counts of the images do not add up to the scores of the set"
        raise DamagedRun(folder=contents.run.folder, file=contents.run.scores.name, found=found)
    return pixels


def _count_again(contents: Contents, stored: StoredScores) -> list[ClassPixels]:
    """The counts from the masks that the run was scored on and those it predicted."""
    run, bundle = contents.run, contents.bundle
    pairs = {pair.name: pair for pair in (contents.pairs or {}).get("validation", ())}
    places: dict[str, Any] = {"run": run, "recipe": contents.recipe, "bundle": bundle}
    counted = []
    for image in stored.images:
        if image.name not in pairs:
            raise NoCounts(folder=run.folder, file=run.scores.name, found=f"{run.split} has no image {image.name}.")
        try:
            truth, prediction = truth_and_guess(pairs[image.name], **places)
            confusion = confusion_matrix(truth, prediction, classes=len(stored.scores.classes), ignore=IGNORED)
        except InputError as error:
            raise NoCounts(folder=run.folder, file=run.scores.name, found=str(error)) from None
        counted.append(ClassPixels.count(confusion))
    return counted


def _rows(counts: ClassPixels) -> Sequence[Sequence[int]]:
    return counts.true_positives, counts.truth, counts.predicted
