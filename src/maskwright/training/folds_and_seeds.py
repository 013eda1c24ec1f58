"""Several trainings of one recipe in one folder: each part held out in turn, or one seed after another."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Final, NamedTuple

import numpy as np

from maskwright.errors import InputError
from maskwright.images.write import write_json
from maskwright.inference.bundle import BUNDLE_FILE
from maskwright.inference.ensemble import TUNING_FILE, TUNING_PAGE, ENSEMBLE_FILE
from maskwright.metrics.scores import Scores
from maskwright.training.plan import DEFAULT_SECONDS
from maskwright.training.recipe import Recipe
from maskwright.training.recipe_text import MIN_TIME_BUDGET
from maskwright.training.run import OutputNotEmpty, Run

SUMMARY_FILE: Final = "summary.json"
MASKS_FOLDER: Final = "masks-from-run-lengths"
"""Subfolder for the masks that a preset decoded from run-lengths."""
_BESIDE: Final = frozenset({SUMMARY_FILE, TUNING_FILE, TUNING_PAGE, ENSEMBLE_FILE, BUNDLE_FILE, MASKS_FOLDER})
_MEMBER: Final = re.compile(r"(fold|seed)\d+")
_DECIDING: Final = 0.05  # of the time of folds, kept for deciding when all are done
_OPENING: Final = 15.0  # seconds that asking a network takes at least: it is opened and traced


class OtherSeries(InputError):
    """A folder with other trainings than those asked for."""

    text = "{folder}: holds other trainings ({found}); name another folder, or give the same command to go on."


class BudgetForTooMany(InputError):
    """A time budget that is too short for so many trainings."""

    text = (
        "A time budget of {seconds:g} s is too short for {number} trainings: each takes {least:g} s or more, and "
        "deciding at the end {kept:g} s. Give {all:g} s, or more."
    )


class Member(NamedTuple):
    """One training of several: the name of its folder, and its recipe."""

    name: str
    recipe: Recipe


@dataclass(frozen=True)
class Summary:
    """What several trainings scored on their validation images.

    ``spread`` is the standard deviation between them, None of one. ``pooled`` is the mean IoU over the pixels of all
    their validation images together, which for folds is the out-of-fold score of the whole set: the mean of ``classes``
    without the background. A class in neither truth nor prediction has None and does not count.
    """

    members: dict[str, float | None]
    mean: float | None
    spread: float | None
    pooled: float | None
    classes: dict[str, float | None]


def by_fold(recipe: Recipe, number: int) -> list[Member]:
    """A training for each of ``number`` parts of the data, which it is validated on; they share out the time."""
    shared = _sharing_time(recipe, number, deciding=True)
    return [
        Member(f"fold{place}", _checked(shared.changed("data", fold=(place, number)))) for place in range(1, number + 1)
    ]


def by_seed(recipe: Recipe, number: int) -> list[Member]:
    """A training for each of ``number`` seeds, from the recipe's own on, with one split; they share out the time."""
    first = recipe.training.seed
    split = first if recipe.data.split_seed is None else recipe.data.split_seed
    shared = _sharing_time(recipe, number).changed("data", split_seed=split)
    return [Member(f"seed{seed}", shared.changed("training", seed=seed)) for seed in range(first, first + number)]


def train_series(
    members: Sequence[Member], out: Path, *, train: Callable[[Recipe, Path], Any], say: Callable[[str], None]
) -> Summary:
    """Train every member that is not yet complete, each into its folder of ``out``, and write the summary.

    Args:
        members: What to train.
        out: A folder, new, empty or of the same series.
        train: Trains a recipe into a folder, going on with what was interrupted.
        say: Called with lines for the user.

    Raises:
        OtherSeries, OutputNotEmpty: ``out`` holds something else.
    """
    refuse_strangers(out, names=[member.name for member in members])
    _refuse_others(out, members)
    for place, member in enumerate(members, start=1):
        run = Run(out / member.name)
        if run.is_complete and run.asks(member.recipe):
            say(f"{member.name}: complete")
            continue
        say(f"{member.name}, {place} of {len(members)}")
        train(member.recipe, run.folder)
        if not run.is_complete:  # it was asked to stop
            raise KeyboardInterrupt
    summary = summarise([Run(out / member.name) for member in members])
    write_json(out / SUMMARY_FILE, vars(summary))
    return summary


def summarise(runs: Sequence[Run]) -> Summary:
    """The summary of complete runs of the same classes."""
    scores = [run.read_scores().scores for run in runs]
    names, background = [line.name for line in scores[0].classes], scores[0].background
    pooled = Scores.from_confusion(np.sum([member.confusion for member in scores], axis=0), names, background=background)
    known = [member.mean_iou for member in scores if member.mean_iou is not None]
    return Summary(
        members={run.folder.name: member.mean_iou for run, member in zip(runs, scores, strict=True)},
        mean=mean(known) if known else None,
        spread=stdev(known) if len(known) > 1 else None,
        pooled=pooled.mean_iou,
        classes={line.name: line.iou for line in pooled.classes},
    )


def seconds_to_decide(seconds: float, number: int) -> float:
    """What is kept of the time of so many folds for what is decided when all are done."""
    return max(_DECIDING * seconds, _OPENING * number)


def _sharing_time(recipe: Recipe, number: int, *, deciding: bool = False) -> Recipe:
    if recipe.training.epochs is not None:
        return recipe
    seconds = DEFAULT_SECONDS if recipe.training.time_budget is None else recipe.training.time_budget
    kept = deciding * seconds_to_decide(seconds, number)
    if seconds < kept + MIN_TIME_BUDGET * number:
        raise BudgetForTooMany(
            seconds=seconds, number=number, least=MIN_TIME_BUDGET, kept=kept, all=kept + MIN_TIME_BUDGET * number
        )
    return _checked(recipe.changed("training", time_budget=(seconds - kept) / number))


def _checked(recipe: Recipe) -> Recipe:
    """The recipe, whose changed fields fit together; what was left open stays open."""
    return Recipe.from_dict(recipe.model_dump(exclude_unset=True), source="each of the trainings")


def refuse_strangers(out: Path, *, names: Sequence[str] = ()) -> None:
    """Refuse a folder that holds something that no series of trainings wrote.

    Args:
        out: The folder.
        names: Of its trainings; any fold's or seed's if absent.

    Raises:
        OutputNotEmpty: It does.
    """
    if out.exists() and not out.is_dir():
        raise OutputNotEmpty(folder=out, found="a file of that name")
    found = sorted(path.name for path in out.iterdir() if path.name[0] != ".") if out.is_dir() else []
    known = _BESIDE | set(names)
    strange = [name for name in found if name not in known and (names or not _MEMBER.fullmatch(name))]
    if strange:
        raise OutputNotEmpty(folder=out, found=", ".join(strange[:5]))


def _refuse_others(out: Path, members: Sequence[Member]) -> None:
    others = [
        member.name
        for member in members
        if (run := Run(out / member.name)).recipe.is_file() and not run.asks(member.recipe)
    ]
    if others:
        raise OtherSeries(folder=out, found=", ".join(others[:5]))
