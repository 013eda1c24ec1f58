"""What the command `train` does: one training or several, going on, and saying what would be done."""

import atexit
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from maskwright.cli.console import console, counting, interruptible, say
from maskwright.cli.large import UnusableOption

if TYPE_CHECKING:  # what a command needs is imported when it runs, so that --help answers at once
    from maskwright.training.custom import Own
    from maskwright.training.recipe import Recipe


def train_run(recipe: "Recipe | None", out: Path, python: Path | None, *, overwrite: bool) -> None:
    """Train, or resume where there is no recipe, and say where the results are."""
    started = time.monotonic()  # before Keras is loaded, which takes seconds of a time budget
    from maskwright.cli.tables import ConsoleNarrator
    from maskwright.framework import load_keras
    from maskwright.segmenter import Segmenter
    from maskwright.training.prefetch_check import checking_ahead
    from maskwright.training.run import Run

    # Code of the user's own may change how files are read; it is loaded after Keras.
    goes_on = Run(out).is_begun and not overwrite
    is_late = recipe is None or goes_on or python is not None
    with nullcontext() if recipe is None or is_late else checking_ahead(recipe.data) as check:
        load_keras(optional_packages=python is not None)
        own = own_functions(python)
        with ConsoleNarrator(console()) as narrator:
            trained = Segmenter.train_recipe(
                recipe, out, overwrite=overwrite, own=own, narrator=narrator, started=started, check=check
            )
    run = Run.open(trained.folder)  # of several processes, all but the first have folders of their own
    say(f"network: {run.network}")
    say(f"report:  {run.report}")
    if run.read_facts()["stopped_by"] == "interrupt":
        say(f"Interrupted; the best network so far is saved. Go on with: maskwright train --resume --out {out}")
        raise typer.Exit(130)


def own_functions(python: Path | None) -> "Own":
    """The user's own functions; Keras is loaded by then."""
    from maskwright.training.custom import NOTHING, load_own

    return NOTHING if python is None else load_own(python)


def train_members(recipe: "Recipe", out: Path, python: Path | None, *, folds: int | None, seeds: int | None) -> None:
    """Train for every fold or seed, say what they reached together, and of folds decide what the ensemble does."""
    from maskwright.cli.tables import ConsoleNarrator, clock, summary_of_series
    from maskwright.cli.tune import decide_and_tell
    from maskwright.framework import load_keras
    from maskwright.inference.ensemble import DECISION_FILE, DECISION_PAGE
    from maskwright.segmenter import Segmenter
    from maskwright.training.folds_and_seeds import by_fold, by_seed, seconds_to_decide, train_series
    from maskwright.training.plan import DEFAULT_SECONDS
    from maskwright.training.run import Run

    load_keras(optional_packages=python is not None)
    own = own_functions(python)

    def one(member: "Recipe", folder: Path) -> None:
        with ConsoleNarrator(console()) as narrator:
            Segmenter.train_recipe(member, folder, own=own, narrator=narrator, started=time.monotonic())

    from maskwright.training.train import recipe_with

    complete = recipe_with(recipe, own)
    members = by_fold(complete, folds) if folds is not None else by_seed(complete, seeds or 1)
    budget, seconds_in_all = members[0].recipe.training.time_budget, complete.training.time_budget or DEFAULT_SECONDS
    if budget is not None:
        whole = clock(complete.training.time_budget or DEFAULT_SECONDS)
        say(f"{len(members)} trainings of {clock(budget)}: {whole} in all.")
    with interruptible():
        summary = train_series(members, out, train=one, say=say)
        console().print(summary_of_series(summary, folds=folds is not None))
        say(f"summary: {out / 'summary.json'}")
        decided = [out / name for name in (DECISION_FILE, DECISION_PAGE)]
        newest = max(Run(out / member.name).facts.stat().st_mtime for member in members)
        if folds is not None and all(path.is_file() and path.stat().st_mtime > newest for path in decided):
            say(f"decided before: {decided[1]}; anew with: maskwright decide {out}")
        elif folds is not None:
            decide_and_tell(out, seconds=None if budget is None else seconds_to_decide(seconds_in_all, len(members)))
            say(f"predict with the ensemble: maskwright predict {out} IMAGES --out MASKS")


def refuse_beside_several(folds: int | None, seeds: int | None, others: Mapping[str, object]) -> bool:
    """Whether several trainings are asked for; what cannot be given beside that is refused.

    Raises:
        UnusableOption: Both were asked for, or one of ``others``; folders to validate with go with seeds alone.
    """
    if folds is None and seeds is None:
        return False
    option = "--seeds" if folds is None else "--folds"
    given = {"--seeds": seeds if folds is not None else None, **others}
    if folds is None:
        given["--val-images"] = None
    if (wrong := next((name for name, value in given.items() if value), None)) is not None:
        again = "a new folder, or the same command to go on"
        raise UnusableOption(
            option=option, found=wrong, expected=again if wrong in ("--resume", "--overwrite") else "one of them"
        )
    return True


def preset_folds(name: str) -> int:
    """In how many folds a preset is trained."""
    from maskwright.tgs_salt.preset import PRESETS

    return PRESETS[name].folds


def preset_with(
    name: str, data: Path | None, folders: Path | None, out: Path, *, explain: bool
) -> "Mapping[str, Mapping[str, object]]":
    """The recipe's fields of a preset, for the data in a folder; says what is strange there.

    Raises:
        UnusableOption: There is no folder, or images and masks were given beside it.
        OutputNotEmpty: ``out`` holds what no training wrote; nothing is written there then.
        InputError: The data is not what the preset is for.
    """
    from maskwright.tgs_salt.preset import PRESETS
    from maskwright.training.folds_and_seeds import MASKS_FOLDER, refuse_strangers

    if data is None or folders is not None:
        raise UnusableOption(option="--preset", found="no --data" if data is None else "--images", expected="--data")
    into = out / MASKS_FOLDER
    if explain:  # which leaves no trace
        temporary = tempfile.mkdtemp()
        atexit.register(shutil.rmtree, temporary, ignore_errors=True)
        into = Path(temporary, MASKS_FOLDER)
    else:
        refuse_strangers(out)
    fields, notes = PRESETS[name].read(data, masks_into=into)
    for note in notes:
        say(f"warning: {note}")
    return fields


def one_of_folds(recipe: "Recipe", number: int) -> "Recipe":
    """The first of so many trainings, which is like the others."""
    from maskwright.training.folds_and_seeds import by_fold

    say(f"The first of {number} folds, which share out the time:")
    return by_fold(recipe, number)[0].recipe


def explain_plan(recipe: "Recipe", out: Path, python: Path | None) -> None:
    """Show what a training would do, and leave no trace."""
    from maskwright.cli.tables import print_plan
    from maskwright.framework import load_keras

    load_keras(optional_packages=python is not None)
    from maskwright.training.train import explain

    with counting("Reading pairs") as count:
        plan = explain(recipe, out, own=own_functions(python), progress=count)
    print_plan(console(), plan)
    say("Nothing was trained or written. Decide otherwise with --set, such as --set training.batch_size=4")


def refuse_changes(out: Path, given: Mapping[str, Mapping[str, object]]) -> None:
    """What a run was started with cannot be changed when it is resumed."""
    from maskwright.training.recipe import Recipe, merge
    from maskwright.training.run import OtherRecipe, Run

    saved = Run.interrupted(out).read_recipe()
    before = saved.model_dump()
    now = Recipe.from_dict(merge(before, given), source="options").model_dump()
    # Classes and ignored value became the table of mask values when the run began.
    changed = [
        f"{section}.{name}={now[section][name]} is not {value}"
        for section, fields in before.items()
        for name, value in fields.items()
        if now[section][name] != value and (section, name) not in (("data", "classes"), ("data", "ignore"))
    ]
    if changed:
        raise OtherRecipe(folder=out, found="; ".join(changed))
