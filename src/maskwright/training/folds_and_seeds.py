"""Train one recipe several times in one folder, once for each fold or seed, and summarise the scores."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Final, NamedTuple

import numpy as np

from maskwright.errors import InputError
from maskwright.images.output_folder import OutputNotEmpty, some_names, visible_names
from maskwright.images.write import write_json
from maskwright.inference.bundle import BUNDLE_FILE
from maskwright.inference.ensemble import ENSEMBLE_FILE, TUNING_FILE, TUNING_PAGE
from maskwright.metrics.scores import Scores
from maskwright.training.planning_rules import DEFAULT_SECONDS
from maskwright.training.recipe import Recipe
from maskwright.training.recipe_text import MIN_TIME_BUDGET
from maskwright.training.run import Run

SUMMARY_FILE: Final = "summary.json"
MASKS_FOLDER: Final = "masks-from-run-lengths"
"""Name of the subfolder for masks that were decoded from run-lengths by a preset."""
_SERIES_FILES: Final = frozenset({SUMMARY_FILE, TUNING_FILE, TUNING_PAGE, ENSEMBLE_FILE, BUNDLE_FILE, MASKS_FOLDER})
_MEMBER_NAME: Final = re.compile(r"(fold|seed)\d+")
_SERIES_KIND: Final = "training runs of folds or seeds"
_TUNING_FRACTION: Final = 0.05  # fraction of the time budget of all folds that is reserved for tuning
_MIN_TUNING_SECONDS: Final = 15.0  # minimum tuning time for each network, which must be loaded and traced


class OtherSeries(InputError):
    """A folder that contains training runs of other recipes."""

    text = "{folder}: contains other training runs ({found}); name another folder, or repeat the original command."


class BudgetForTooMany(InputError):
    """A time budget that is too short for the number of training runs."""

    text = (
        "A time budget of {seconds:g} s is too short for {number} training runs: each takes at least {minimum:g} s, "
        "and tuning at the end takes {tuning:g} s. Give {total:g} s or more."
    )


class Member(NamedTuple):
    """One training run of a series, with the name of its folder and its recipe."""

    name: str
    recipe: Recipe


@dataclass(frozen=True)
class SeriesSummary:
    """Validation scores of a series of training runs.

    Attributes:
        members: Mean IoU of each training run, by name.
        mean: Mean of the mean IoUs of all training runs.
        standard_deviation: Standard deviation of these mean IoUs; None for a single training run.
        pooled: Mean of the values of ``classes`` without the background. With folds, it is the out-of-fold score of the
            whole data set.
        classes: IoU of each class over the pixels of all validation images together; None for a class that is absent
            from both the masks and the predictions.
    """

    members: dict[str, float | None]
    mean: float | None
    standard_deviation: float | None
    pooled: float | None
    classes: dict[str, float | None]


def by_fold(recipe: Recipe, number: int) -> list[Member]:
    """Return one training run per fold; each holds out its fold for validation, and all share the time budget.

    The networks are not tuned one by one: their ensemble is tuned, if the recipe tunes.

    Args:
        recipe: Recipe of all training runs.
        number: Number of folds.

    Raises:
        BudgetForTooMany: The time budget is too short for ``number`` training runs.
        WrongRecipe: The recipe has validation folders.
    """
    shared = _with_shared_time(recipe, number, tuning=recipe.training.tune).changed("training", tune=False)
    return [
        Member(f"fold{fold}", _validated(shared.changed("data", fold=(fold, number)))) for fold in range(1, number + 1)
    ]


def by_seed(recipe: Recipe, number: int) -> list[Member]:
    """Return one training run per seed, starting with the seed of the recipe; all share the split and the time budget.

    Args:
        recipe: Recipe of all training runs.
        number: Number of seeds.

    Raises:
        BudgetForTooMany: The time budget is too short for ``number`` training runs.
    """
    first = recipe.training.seed
    split_seed = first if recipe.data.split_seed is None else recipe.data.split_seed
    shared = _with_shared_time(recipe, number, tuning=False).changed("data", split_seed=split_seed)
    return [Member(f"seed{seed}", shared.changed("training", seed=seed)) for seed in range(first, first + number)]


def train_series(
    members: Sequence[Member], out: Path, *, train: Callable[[Recipe, Path], Any], report: Callable[[str], None]
) -> SeriesSummary:
    """Train every member of the series that is not complete, each in its own folder in ``out``, and write the summary.

    Args:
        members: Training runs of the series.
        out: Output folder, which does not exist, is empty, or contains the same series.
        train: Function that trains a recipe in a folder, and resumes an unfinished run in that folder.
        report: Function called with each message (str) for the user.

    Raises:
        OtherSeries, OutputNotEmpty: ``out`` contains other training runs or other files.
        KeyboardInterrupt: A training run was interrupted.
    """
    check_series_folder(out, names=[member.name for member in members])
    _check_same_series(out, members)
    for number, member in enumerate(members, start=1):
        run = Run(out / member.name)
        if run.is_complete and run.began_with(member.recipe):
            report(f"{member.name}: complete")
            continue
        report(f"{member.name}, {number} of {len(members)}")
        train(member.recipe, run.folder)
        if not run.is_complete:
            raise KeyboardInterrupt
    summary = summarise([Run(out / member.name) for member in members])
    write_json(out / SUMMARY_FILE, vars(summary))
    return summary


def summarise(runs: Sequence[Run]) -> SeriesSummary:
    """Summarise the validation scores of complete runs with the same classes."""
    scores = [run.read_scores().scores for run in runs]
    names, background = [line.name for line in scores[0].classes], scores[0].background
    confusion = np.sum([member.confusion for member in scores], axis=0)
    pooled = Scores.from_confusion(confusion, names, background=background)
    defined = [member.mean_iou for member in scores if member.mean_iou is not None]
    return SeriesSummary(
        members={run.folder.name: member.mean_iou for run, member in zip(runs, scores, strict=True)},
        mean=mean(defined) if defined else None,
        standard_deviation=stdev(defined) if len(defined) > 1 else None,
        pooled=pooled.mean_iou,
        classes={line.name: line.iou for line in pooled.classes},
    )


def tuning_seconds(seconds: float, number: int) -> float:
    """Return the part of a time budget, in seconds, that is reserved for tuning the networks of ``number`` folds."""
    return max(_TUNING_FRACTION * seconds, _MIN_TUNING_SECONDS * number)


def check_series_folder(out: Path, *, names: Sequence[str] = ()) -> None:
    """Check that a folder contains only files of a series of training runs.

    Args:
        out: Folder to check, which may not exist.
        names: Accepted names of the training runs. If absent, the names of all folds and seeds are accepted.

    Raises:
        OutputNotEmpty: The folder is a file or contains other files.
    """
    known = _SERIES_FILES | set(names)
    other = [
        name
        for name in visible_names(out, kind=_SERIES_KIND)
        if name not in known and (names or not _MEMBER_NAME.fullmatch(name))
    ]
    if other:
        raise OutputNotEmpty(folder=out, kind=_SERIES_KIND, found=some_names(other))


def _check_same_series(out: Path, members: Sequence[Member]) -> None:
    runs = [(Run(out / member.name), member) for member in members]
    others = [member.name for run, member in runs if run.exists and not run.began_with(member.recipe)]
    if others:
        raise OtherSeries(folder=out, found=some_names(others))


def _with_shared_time(recipe: Recipe, number: int, *, tuning: bool) -> Recipe:
    """Return the recipe with the time budget of a single training run, after time for tuning has been reserved."""
    if recipe.training.epochs is not None:
        return recipe
    seconds = DEFAULT_SECONDS if recipe.training.time_budget is None else recipe.training.time_budget
    reserved = tuning_seconds(seconds, number) if tuning else 0
    total = reserved + MIN_TIME_BUDGET * number
    if seconds < total:
        raise BudgetForTooMany(seconds=seconds, number=number, minimum=MIN_TIME_BUDGET, tuning=reserved, total=total)
    return _validated(recipe.changed("training", time_budget=(seconds - reserved) / number))


def _validated(recipe: Recipe) -> Recipe:
    """Validate a recipe whose fields were changed, and return it. Unset fields remain unset."""
    return Recipe.from_dict(recipe.model_dump(exclude_unset=True), source="each of the training runs")
