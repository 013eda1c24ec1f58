"""A run: the folder that is written by training, and the files in it. This module does not import Keras."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

from maskwright.data.pairs import Pair
from maskwright.images.write import write_text
from maskwright.inference.bundle import BUNDLE_FILE, Bundle
from maskwright.inference.engines.engine import NETWORK_FILE, NotARun
from maskwright.inference.ensemble import TUNING_FILE, remove_tuning_files
from maskwright.training import run_records
from maskwright.training.recipe import Recipe
from maskwright.training.recipe_text import WrongRecipe
from maskwright.training.run_records import DamagedRunFile, Epoch, RunFacts, RunScores
from maskwright.training.tuning_record import TuningRecord

RECIPE_FILE: Final = "recipe.yaml"
SNAPSHOTS_FOLDER: Final = "snapshots"
_TENSORBOARD_FOLDER: Final = "tensorboard"
_INCOMPLETE_WRITE: Final = re.compile(r"\.[0-9a-f]{32}\.\w+")  # names of files written by `atomic_path`


@dataclass(frozen=True)
class Run:
    """Paths of the files of a run, which are described in `docs/training.md`."""

    folder: Path

    @property
    def recipe(self) -> Path:
        """Path of the complete recipe, including the values that were chosen from the data."""
        return self.folder / RECIPE_FILE

    @property
    def requested(self) -> Path:
        """Path of the hidden file with the recipe as given by the user, which identifies a repeated command."""
        return self.folder / ".requested.yaml"

    @property
    def mlflow_id(self) -> Path:
        """Path of the hidden file with the identifier of the run in MLflow."""
        return self.folder / ".mlflow"

    @property
    def bundle(self) -> Path:
        """Path of the bundle, which describes the inputs and outputs of the network for prediction."""
        return self.folder / BUNDLE_FILE

    @property
    def split(self) -> Path:
        """Path of the CSV file with the training and validation pairs."""
        return self.folder / "split.csv"

    @property
    def data_warnings(self) -> Path:
        """Path of the warnings about the data, with all files they concern; it exists only if there are warnings."""
        return self.folder / "data_warnings.txt"

    @property
    def history(self) -> Path:
        """Path of the training history, with the loss, learning rate and validation scores of each epoch."""
        return self.folder / "history.csv"

    @property
    def network(self) -> Path:
        """Path of the best network, in float32, for images of any size."""
        return self.folder / NETWORK_FILE

    @property
    def checkpoint(self) -> Path:
        """Path of the last checkpoint, with all data needed to resume training."""
        return self.folder / "checkpoints" / "last.npz"

    @property
    def previous_checkpoint(self) -> Path:
        """Path of the previous checkpoint, which is used if the last checkpoint is damaged."""
        return self.folder / "checkpoints" / "previous.npz"

    @property
    def has_checkpoint(self) -> bool:
        """Whether the last or the previous checkpoint exists."""
        return self.checkpoint.exists() or self.previous_checkpoint.exists()

    @property
    def last_network(self) -> Path:
        """Path of the network after the last step."""
        return self.folder / "checkpoints" / "last.keras"

    @property
    def start_network(self) -> Path:
        """Path of the network before the first step, which is stored if training starts from the network of a file."""
        return self.folder / "checkpoints" / "start.keras"

    def snapshot(self, number: int) -> Path:
        """Return the snapshot folder of a learning-rate cycle, numbered from 1, which can be used like a run."""
        return self.folder / SNAPSHOTS_FOLDER / str(number)

    @property
    def contact_sheet(self) -> Path:
        """Path of a picture of one batch of augmented images and masks."""
        return self.folder / "augmented.png"

    @property
    def validation(self) -> Path:
        """Folder of the masks that were predicted for the validation images."""
        return self.folder / "validation"

    @property
    def scores(self) -> Path:
        """Path of the scores of the best network on the validation pairs."""
        return self.folder / "scores.json"

    @property
    def tuning(self) -> Path:
        """Path of the result of tuning, which exists only if the run was tuned."""
        return self.folder / TUNING_FILE

    @property
    def facts(self) -> Path:
        """Path of the record of package versions, machine and training time."""
        return self.folder / "run.json"

    @property
    def report(self) -> Path:
        """Path of the report, an HTML page, which is the last file written by training."""
        return self.folder / "report.html"

    @classmethod
    def open(cls, folder: str | Path) -> "Run":
        """Return the run in ``folder``.

        Raises:
            NotARun: The folder is missing or has no recipe.
        """
        run = cls(Path(folder))
        if not run.exists:
            found = f"{RECIPE_FILE} is missing" if run.folder.is_dir() else "there is no such folder"
            raise NotARun(folder=folder, found=found, expected=RECIPE_FILE)
        return run

    @classmethod
    def holding(cls, folder: Path) -> "Run | None":
        """Return the run whose network or snapshot is in ``folder``, or None if there is no such run."""
        above = [folder.parent.parent] if folder.parent.name == SNAPSHOTS_FOLDER else []
        return next((run for run in map(cls, [folder, *above]) if run.exists), None)

    @property
    def exists(self) -> bool:
        """Whether the folder contains a run."""
        return self.recipe.is_file()

    @property
    def is_begun(self) -> bool:
        """Whether the data has been prepared, so that training can be resumed."""
        return self.split.is_file() and self.bundle.is_file()

    @property
    def is_complete(self) -> bool:
        """Whether training is complete and all results have been written."""
        if not (self.report.is_file() and self.facts.is_file()):
            return False
        try:
            return self.read_facts().stopped_by != "interrupt"
        except DamagedRunFile:  # the file is written again by training
            return False

    def began_with(self, recipe: Recipe) -> bool:
        """Return whether the run exists and was started with ``recipe``, as given by the user."""
        if not (self.exists and self.requested.is_file()):
            return False
        try:
            return Recipe.load(self.requested) == recipe
        except WrongRecipe:
            return False

    def begin(self, recipe: str | None = None, *, requested: str | None = None) -> None:
        """Create the folder and remove the files of an earlier run from it; other files are not changed.

        Args:
            recipe: YAML text of the complete recipe. It atomically replaces the recipe of an earlier run, so that the
                folder contains a run at all times.
            requested: YAML text of the recipe as given by the user.
        """
        if self.exists:
            self._remove_results()
        self.folder.mkdir(parents=True, exist_ok=True)
        if requested is not None:
            write_text(self.requested, requested)
        if recipe is None:
            self.recipe.unlink(missing_ok=True)
        else:
            write_text(self.recipe, recipe)

    def remove_incomplete_writes(self) -> None:
        """Remove temporary files that remain from interrupted writes."""
        nested = (self.validation, self.folder / SNAPSHOTS_FOLDER)
        hidden = [self.folder.glob(".*"), self.checkpoint.parent.glob(".*"), *(path.rglob(".*") for path in nested)]
        for path in chain.from_iterable(hidden):
            if _INCOMPLETE_WRITE.fullmatch(path.name):
                path.unlink()

    def discard(self) -> None:
        """Remove all files of the run, and then its folders if they are empty."""
        self._remove_results()
        self.recipe.unlink(missing_ok=True)
        for name in ("checkpoints", SNAPSHOTS_FOLDER, "validation", _TENSORBOARD_FOLDER):
            nested = [path for path in (self.folder / name).rglob("*") if path.is_dir()]
            for folder in (*sorted(nested, reverse=True), self.folder / name):
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()

    def _remove_results(self) -> None:
        """Remove all files written by training except the recipe."""
        for path in sorted(self.validation.rglob("*.png")):
            path.unlink()
        for path in sorted(self.folder.glob(f"{_TENSORBOARD_FOLDER}/events.out.*")):
            path.unlink()
        for path in sorted((self.folder / SNAPSHOTS_FOLDER).glob("[0-9]*")):
            for name in (NETWORK_FILE, BUNDLE_FILE):
                (path / name).unlink(missing_ok=True)
        hidden = (self.requested, self.mlflow_id)
        # The split is removed early, because without it the run cannot be resumed.
        texts = (self.split, self.data_warnings, self.history, self.contact_sheet, self.scores, self.facts, self.report)
        remove_tuning_files(self.folder)
        checkpoints = (self.checkpoint, self.previous_checkpoint, self.start_network, self.last_network)
        for path in (*hidden, *texts, *checkpoints, self.network, self.bundle):
            path.unlink(missing_ok=True)

    def read_recipe(self) -> Recipe:
        """Read the complete recipe."""
        return Recipe.load(self.recipe)

    def read_split(self) -> dict[str, list[Pair]]:
        """Read the pairs of the ``train`` and ``validation`` sides of the split."""
        return run_records.read_split(self.split)

    def write_split(self, *, train: Sequence[Pair], validation: Sequence[Pair]) -> None:
        """Write the training and validation pairs."""
        run_records.write_split(self.split, train=train, validation=validation)

    def read_bundle(self) -> Bundle:
        """Read the bundle, which describes the inputs and outputs of the network."""
        return Bundle.read(self.folder)

    def read_history(self) -> tuple[Epoch, ...]:
        """Read the rows of the training history."""
        return run_records.read_history(self.history)

    def read_scores(self) -> RunScores:
        """Read the scores over all validation pairs and the scores of each image."""
        return run_records.read_scores(self.scores)

    def read_tuning(self) -> TuningRecord:
        """Read the result of tuning."""
        return run_records.read_tuning(self.tuning)

    def read_facts(self) -> RunFacts:
        """Read the record of package versions, machine, training time and number of steps."""
        return run_records.read_facts(self.facts)
