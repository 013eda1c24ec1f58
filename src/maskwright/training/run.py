"""A run: the folder a training writes, and the names of what lies in it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from maskwright.data.pairs import Pair
from maskwright.errors import InputError
from maskwright.images.write import write_text
from maskwright.inference.bundle import BUNDLE_FILE, Bundle
from maskwright.inference.engines.engine import NETWORK_FILE, NotARun
from maskwright.inference.ensemble import TUNING_FILE, TUNING_PAGE
from maskwright.training import run_records
from maskwright.training.recipe import Recipe
from maskwright.training.recipe_text import WrongRecipe
from maskwright.training.run_records import DamagedRunFile, Epoch, RunFacts, RunScores

RECIPE_FILE = "recipe.yaml"
SNAPSHOTS = "snapshots"
_UNFINISHED_WRITE = re.compile(r"\.[0-9a-f]{32}\.\w+")  # the names of `atomic_path`


class OutputHoldsARun(InputError):
    """The output folder already holds a run."""

    text = "{folder}: holds a run; add --resume to go on with it, --overwrite to replace it, or name another folder."


class OutputNotEmpty(InputError):
    """The output folder holds files that no training wrote."""

    text = "{folder}: is not empty and holds no run (it has {found}); name a new folder, this one is left alone."


class NothingToResume(InputError):
    """``--resume`` without a run to go on with."""

    text = "{folder}: nothing to resume, {found}; start a new run without --resume (and --overwrite to replace it)."


class OtherRecipe(InputError):
    """``--resume`` with options that are not the run's."""

    text = "{folder}: cannot resume with other settings ({found}); leave them out, or start a run in another folder."


@dataclass(frozen=True)
class Run:
    """The paths of a run; see `docs/training.md` for what each holds."""

    folder: Path

    @property
    def recipe(self) -> Path:
        """The recipe, every choice filled in."""
        return self.folder / RECIPE_FILE

    @property
    def asked(self) -> Path:
        """The recipe as it was given, to know the same command by; hidden, for nobody needs to read it."""
        return self.folder / ".asked.yaml"

    @property
    def known_to_mlflow(self) -> Path:
        """The name that MLflow has for it; hidden."""
        return self.folder / ".mlflow"

    @property
    def bundle(self) -> Path:
        """The contract with predicting."""
        return self.folder / BUNDLE_FILE

    @property
    def split(self) -> Path:
        """Which pair is on which side."""
        return self.folder / "split.csv"

    @property
    def history(self) -> Path:
        """A line an epoch."""
        return self.folder / "history.csv"

    @property
    def network(self) -> Path:
        """The best network, float32, for images of any size."""
        return self.folder / NETWORK_FILE

    @property
    def checkpoint(self) -> Path:
        """All it takes to go on."""
        return self.folder / "checkpoints" / "last.npz"

    @property
    def previous_checkpoint(self) -> Path:
        """The checkpoint before, should the last be damaged."""
        return self.folder / "checkpoints" / "previous.npz"

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is something to go on from."""
        return self.checkpoint.exists() or self.previous_checkpoint.exists()

    @property
    def last_network(self) -> Path:
        """The network of the last step."""
        return self.folder / "checkpoints" / "last.keras"

    def snapshot(self, number: int) -> Path:
        """The folder of the network at the end of a cycle of the learning rate, from 1; it predicts as a run does."""
        return self.folder / SNAPSHOTS / str(number)

    @property
    def contact_sheet(self) -> Path:
        """A batch of augmented pairs."""
        return self.folder / "augmented.png"

    @property
    def validation(self) -> Path:
        """Predicted masks of the validation images."""
        return self.folder / "validation"

    @property
    def scores(self) -> Path:
        """Scores of the best network on the validation pairs."""
        return self.folder / "scores.json"

    @property
    def facts(self) -> Path:
        """How the run went: versions, machine, time. Written last."""
        return self.folder / "run.json"

    @property
    def report(self) -> Path:
        """The page to look at."""
        return self.folder / "report.html"

    @classmethod
    def open(cls, folder: str | Path) -> "Run":
        """The run in ``folder``.

        Raises:
            NotARun: The folder is missing or holds no recipe.
        """
        run = cls(Path(folder))
        if not run.recipe.is_file():
            found = f"{RECIPE_FILE} is missing" if run.folder.is_dir() else "there is no such folder"
            raise NotARun(folder=folder, found=found, expected=RECIPE_FILE)
        return run

    @classmethod
    def holding(cls, folder: Path) -> "Run | None":
        """The run whose network, or one of whose snapshots, is in ``folder``, if there is one."""
        above = [folder.parent.parent] if folder.parent.name == SNAPSHOTS else []
        return next((run for run in map(cls, [folder, *above]) if run.recipe.is_file()), None)

    @classmethod
    def planned(cls, folder: str | Path, *, overwrite: bool) -> "Run":
        """A run that may be written to ``folder``; nothing is touched yet.

        Raises:
            OutputHoldsARun: There is a run, and no leave to replace it.
            OutputNotEmpty: The folder holds something else, or is a file.
        """
        run = cls(Path(folder))
        if run.folder.exists() and not run.folder.is_dir():
            raise OutputNotEmpty(folder=folder, found="a file of that name")
        found = sorted(path.name for path in run.folder.iterdir() if path.name[0] != ".") if run.folder.is_dir() else []
        if found and not run.recipe.is_file():
            raise OutputNotEmpty(folder=folder, found=", ".join(found[:5]))
        if found and not overwrite:
            raise OutputHoldsARun(folder=folder)
        return run

    @classmethod
    def interrupted(cls, folder: str | Path) -> "Run":
        """The run in ``folder``, to go on with.

        Raises:
            NothingToResume: There is no run, or it is complete.
        """
        run = cls(Path(folder))
        if not run.recipe.is_file():
            raise NothingToResume(folder=folder, found="there is no run")
        if run.is_complete:
            raise NothingToResume(folder=folder, found="the run is complete")
        if not run.is_begun:
            raise NothingToResume(folder=folder, found="the run ended before it began to train")
        return run

    @property
    def is_complete(self) -> bool:
        """Whether the training came to its own end, and all of its results are there."""
        if not (self.report.is_file() and self.facts.is_file()):
            return False
        try:
            return self.read_facts().stopped_by != "interrupt"
        except DamagedRunFile:  # training writes the file again
            return False

    @property
    def is_begun(self) -> bool:
        """Whether there is all it takes to go on."""
        return self.split.is_file() and self.bundle.is_file()

    def is_unfinished(self, asked: Recipe) -> bool:
        """Whether this is a run that was asked for by the very same recipe, and is not complete."""
        return self.recipe.is_file() and not self.is_complete and self.asks(asked)

    def asks(self, asked: Recipe) -> bool:
        """Whether this run was asked for by the very same recipe."""
        if not self.asked.is_file():
            return False
        try:
            return Recipe.load(self.asked) == asked
        except WrongRecipe:
            return False

    def begin(self, recipe: str | None = None, *, asked: str | None = None) -> None:
        """Make the folder, and remove what an older run wrote there; other files are left alone.

        Args:
            recipe: Text of the recipe, every choice filled in. It takes the place of an older run's in one step, so
                that the folder is known as a run all along.
            asked: Text of the recipe as it was given.
        """
        if self.recipe.is_file():
            self._clear()
        self.folder.mkdir(parents=True, exist_ok=True)
        if asked is not None:
            write_text(self.asked, asked)
        if recipe is None:
            self.recipe.unlink(missing_ok=True)
        else:
            write_text(self.recipe, recipe)

    def tidy(self) -> None:
        """Remove what writes have left that were killed."""
        below = (self.validation, self.folder / SNAPSHOTS)
        places = [self.folder.glob(".*"), self.checkpoint.parent.glob(".*"), *(place.rglob(".*") for place in below)]
        for path in chain.from_iterable(places):
            if _UNFINISHED_WRITE.fullmatch(path.name):
                path.unlink()

    def discard(self) -> None:
        """Leave nothing of a run that learnt nothing, so that the folder is as free as before."""
        self._clear()
        self.recipe.unlink(missing_ok=True)
        for name in ("checkpoints", SNAPSHOTS, "validation", "tensorboard"):
            below = [path for path in (self.folder / name).rglob("*") if path.is_dir()]
            for place in (*sorted(below, reverse=True), self.folder / name):
                if place.is_dir() and not any(place.iterdir()):
                    place.rmdir()

    def _clear(self) -> None:
        """Remove what a training wrote, but for the recipe."""
        for path in sorted(self.validation.rglob("*.png")):
            path.unlink()
        kept = (self.checkpoint, self.previous_checkpoint, self.last_network, self.network, self.bundle)
        told = (self.split, self.history, self.contact_sheet, self.scores, self.facts, self.report)
        decided = (self.folder / TUNING_FILE, self.folder / TUNING_PAGE)
        for path in sorted(self.folder.glob("tensorboard/events.out.*")):
            path.unlink()
        for path in sorted((self.folder / SNAPSHOTS).glob("[0-9]*")):
            for name in (NETWORK_FILE, BUNDLE_FILE):
                (path / name).unlink(missing_ok=True)
        hidden = (self.asked, self.known_to_mlflow)
        for path in (*hidden, *told, *decided, *kept):  # the split early: without it there is nothing to go on with
            path.unlink(missing_ok=True)

    def read_recipe(self) -> Recipe:
        """The recipe, every choice filled in."""
        return Recipe.load(self.recipe)

    def read_split(self) -> dict[str, list[Pair]]:
        """Return the pairs of each side, ``train`` and ``validation``."""
        return run_records.read_split(self.split)

    def write_split(self, *, train: Sequence[Pair], validation: Sequence[Pair]) -> None:
        """Store the pairs of each side."""
        run_records.write_split(self.split, train=train, validation=validation)

    def read_bundle(self) -> Bundle:
        """The contract with predicting."""
        return Bundle.read(self.folder)

    def read_history(self) -> tuple[Epoch, ...]:
        """Return the rows of the training history."""
        return run_records.read_history(self.history)

    def read_scores(self) -> RunScores:
        """Return the scores on the validation pairs, overall and of each image."""
        return run_records.read_scores(self.scores)

    def read_facts(self) -> RunFacts:
        """Return how the training ran: versions, machine, seconds, steps."""
        return run_records.read_facts(self.facts)
