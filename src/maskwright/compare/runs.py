"""Read the pixel counts of all validation images, the history and the costs of a finished run."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskwright.compare.errors import UnfinishedRun
from maskwright.training.recipe import Recipe
from maskwright.training.run_contents import read_run_contents
from maskwright.training.run_records import Epoch, RunFacts


@dataclass(frozen=True)
class ScoredRun:
    """A finished run, with the pixel counts of each of its validation images."""

    folder: Path
    classes: tuple[str, ...]
    background: bool
    """Whether the first class is the background."""
    images: tuple[str, ...]
    pixels: NDArray[np.int64]
    """Numbers of true positive, ground-truth and predicted pixels for each image and class, (images, 3, classes)."""
    seconds: tuple[float, ...]
    """Prediction time for each image, in seconds."""
    history: tuple[Epoch, ...]
    facts: RunFacts
    recipe: Recipe
    file_bytes: int
    """Size of the file in which the network is saved, in bytes."""


def read_run(folder: str | Path) -> ScoredRun:
    """Read the finished run in ``folder``.

    Raises:
        NotARun: The folder is missing or contains no recipe.
        UnfinishedRun: The run ended before its validation images were scored.
        DamagedRunFile, WrongRecipe, UnreadableBundle: A file of the run is damaged.
    """
    contents = read_run_contents(folder)
    run, scores, history, facts = contents.run, contents.scores, contents.history, contents.facts
    expected = run.bundle, run.split, run.history, run.network, run.scores, run.facts
    absent = next((file for file in expected if not file.is_file()), None)
    if absent is not None or scores is None or history is None or facts is None:
        raise UnfinishedRun(folder=folder, missing=(absent or run.scores).name)
    classes = tuple(line.name for line in scores.scores.classes)
    pixels = np.array([image.pixels.rows() for image in scores.images], np.int64).reshape(-1, 3, len(classes))
    return ScoredRun(
        folder=Path(folder),
        classes=classes,
        background=scores.scores.background,
        images=tuple(image.name for image in scores.images),
        pixels=pixels,
        seconds=tuple(image.seconds for image in scores.images),
        history=history,
        facts=facts,
        recipe=contents.recipe,
        file_bytes=run.network.stat().st_size,
    )
