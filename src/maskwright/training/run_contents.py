"""Read and check all files of a run at once. This module does not import Keras."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from maskwright.data.pairs import Pair
from maskwright.inference.bundle import Bundle
from maskwright.training.recipe import Recipe
from maskwright.training.run import Run
from maskwright.training.run_records import DamagedRunFile, Epoch, RunFacts, RunScores
from maskwright.training.tuning_record import TuningRecord

T = TypeVar("T")


@dataclass(frozen=True)
class RunContents:
    """Contents of the files of a run; None for each file that is missing, for instance because the run was
    interrupted."""

    run: Run
    recipe: Recipe
    recipe_text: str
    bundle: Bundle | None
    pairs: Mapping[str, list[Pair]] | None
    """Training and validation pairs, by the name of the side: ``train`` or ``validation``."""
    history: tuple[Epoch, ...] | None
    scores: RunScores | None
    facts: RunFacts | None
    tuning: TuningRecord | None


def read_run_contents(folder: str | Path) -> RunContents:
    """Read all files of a run except its pictures and networks.

    Raises:
        NotARun: The folder is missing or does not contain a recipe.
        WrongRecipe: The recipe is damaged.
        UnreadableBundle: The bundle is damaged.
        DamagedRunFile: Another file of the run is damaged.
    """
    run = Run.open(folder)
    return RunContents(
        run=run,
        recipe=run.read_recipe(),
        recipe_text=run.recipe.read_text(encoding="utf-8"),
        bundle=_read_if_present(run.bundle, run.read_bundle),
        pairs=_read_if_present(run.split, run.read_split),
        history=_read_if_present(run.history, run.read_history),
        scores=_read_if_present(run.scores, run.read_scores),
        facts=_read_if_present(run.facts, run.read_facts),
        tuning=_read_if_present(run.tuning, run.read_tuning),
    )


def _read_if_present(file: Path, read: Callable[[], T]) -> T | None:
    try:
        return read() if file.is_file() else None
    except OSError as error:
        raise DamagedRunFile(file=file, found=error.strerror, expected="a readable file") from None
