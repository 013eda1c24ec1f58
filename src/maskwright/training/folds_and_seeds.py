"""Train one recipe several times in one folder, once for each fold or for each seed, and summarise the scores."""

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
from maskwright.training.plan import DEFAULT_SECONDS
from maskwright.training.recipe import Recipe
from maskwright.training.recipe_text import MIN_TIME_BUDGET
from maskwright.training.run import Run

SUMMARY_FILE: Final = "summary.json"
MASKS_FOLDER: Final = "masks-from-run-lengths"
"""Subfolder for masks that a preset decoded from run-lengths."""
_SERIES_FILES: Final = frozenset({SUMMARY_FILE, TUNING_FILE, TUNING_PAGE, ENSEMBLE_FILE, BUNDLE_FILE, MASKS_FOLDER})
_MEMBER_NAME: Final = re.compile(r"(fold|seed)\d+")
_SERIES_KIND: Final = "trainings of folds or seeds"
_TUNING_FRACTION: Final = 0.05  # of the time of all folds, for tuning after the last one
_MIN_TUNING_SECONDS: Final = 15.0  # for each network, which is loaded and traced


class OtherSeries(InputError):
    """A folder with trainings of other recipes."""

    text = "{folder}: holds other trainings ({found}); name another folder, or repeat the first command to continue."


class BudgetForTooMany(InputError):
    """A time budget that is too short for the number of trainings."""

    text = (
        "A time budget of {seconds:g} s is too short for {number} trainings: each takes {minimum:g} s or more, and "
        "tuning at the end {tuning:g} s. Give {total:g} s, or more."
    )


class Member(NamedTuple):
    """One training of a series: the name of its folder and its recipe."""

    name: str
    recipe: Recipe


@dataclass(frozen=True)
class SeriesSummary:
    """Validation scores of the trainings of a series.

    ``members`` are the mean IoUs of each training; ``standard_deviation`` is None for a single one. ``classes`` are the
    IoUs over the pixels of all validation images together, None for a class in neither truth nor prediction, and
    ``pooled`` is their mean without the background. With folds this is the out-of-fold score of the whole set.
    """

    members: dict[str, float | None]
    mean: float | None
    standard_deviation: float | None
    pooled: float | None
    classes: dict[str, float | None]


def by_fold(recipe: Recipe, number: int) -> list[Member]:
    """Return a training for each of ``number`` folds, which is held out for validation; they share the time budget.

    Raises:
        BudgetForTooMany: The time budget is too short.
        WrongRecipe: The recipe has validation folders.
    """
    shared = _with_shared_time(recipe, number, tuning=True)
    return [
        Member(f"fold{fold}", _validated(shared.changed("data", fold=(fold, number)))) for fold in range(1, number + 1)
    ]


def by_seed(recipe: Recipe, number: int) -> list[Member]:
    """Return a training for each of ``number`` seeds, counted from the recipe's; they share split and time budget.

    Raises:
        BudgetForTooMany: The time budget is too short.
    """
    first = recipe.training.seed
    split_seed = first if recipe.data.split_seed is None else recipe.data.split_seed
    shared = _with_shared_time(recipe, number, tuning=False).changed("data", split_seed=split_seed)
    return [Member(f"seed{seed}", shared.changed("training", seed=seed)) for seed in range(first, first + number)]


def train_series(
    members: Sequence[Member], out: Path, *, train: Callable[[Recipe, Path], Any], report: Callable[[str], None]
) -> SeriesSummary:
    """Train every member that is not complete, each in its own folder in ``out``, and write the summary.

    Args:
        members: The trainings.
        out: A folder that is new, empty or holds the same series.
        train: Trains a recipe in a folder, and resumes an unfinished run there.
        report: Called with messages for the user.

    Raises:
        OtherSeries, OutputNotEmpty: ``out`` holds other trainings or files.
        KeyboardInterrupt: A training was interrupted.
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
    """Summarise the scores of complete runs of the same classes."""
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
    """Return the part of a time budget that is reserved for tuning the networks of ``number`` folds."""
    return max(_TUNING_FRACTION * seconds, _MIN_TUNING_SECONDS * number)


def check_series_folder(out: Path, *, names: Sequence[str] = ()) -> None:
    """Check that a folder holds nothing but files of a series of trainings.

    Args:
        out: The folder, which may not exist.
        names: Names of the trainings; any fold or seed if absent.

    Raises:
        OutputNotEmpty: The folder is a file or holds other files.
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
    """Return the recipe with an equal part of the time budget, less the time for tuning."""
    if recipe.training.epochs is not None:
        return recipe
    seconds = DEFAULT_SECONDS if recipe.training.time_budget is None else recipe.training.time_budget
    reserved = tuning_seconds(seconds, number) if tuning else 0
    total = reserved + MIN_TIME_BUDGET * number
    if seconds < total:
        raise BudgetForTooMany(seconds=seconds, number=number, minimum=MIN_TIME_BUDGET, tuning=reserved, total=total)
    return _validated(recipe.changed("training", time_budget=(seconds - reserved) / number))


def _validated(recipe: Recipe) -> Recipe:
    """Return the recipe after validation, which checks that changed fields fit the others; unset fields stay unset."""
    return Recipe.from_dict(recipe.model_dump(exclude_unset=True), source="each of the trainings")
