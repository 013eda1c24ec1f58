"""The command ``train``, which trains one network, trains several for folds or seeds, or prints the plan."""

import atexit
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from maskwright.cli.console import counter, exit_interrupted, interruptible, print_line, print_table, print_warning
from maskwright.cli.options import (
    NO_DEFAULT,
    Classes,
    Epochs,
    Ignore,
    MaskSuffix,
    MaskValuesOption,
    Overwrite,
    PythonFile,
    RecipeFile,
    RenamedClasses,
    Settings,
    StartFrom,
    TimeBudget,
    UnusableOption,
    ValImages,
    ValMasks,
    parse_classes,
    parse_mask_values,
    parse_renamed_classes,
)

if TYPE_CHECKING:
    from maskwright.training.custom import CustomParts
    from maskwright.training.recipe import Recipe

_SERIES_OPTIONS: Final = ("--folds", "--seeds", "--preset")
_CONFLICTS: Final = (
    ("--explain", "--resume", "a run that has not been started"),
    ("--from", "--resume", "--resume alone, which continues the same run"),
    ("--folds", "--seeds", "one of them"),
    ("--folds", "--val-images", "one of them"),
    ("--folds", "--explain", "one of them"),
    ("--seeds", "--explain", "one of them"),
    ("--preset", "--images", "--data alone"),
    ("--preset", "--masks", "--data alone"),
    *((option, "--resume", "the same command again, which resumes by itself") for option in _SERIES_OPTIONS),
    *((option, "--overwrite", "a new folder as --out") for option in _SERIES_OPTIONS),
)
"""Pairs of options that exclude each other, with the expected usage."""
_REQUIREMENTS: Final = (
    ("--preset", "--data", "the folder of the data set"),
    ("--data", "--preset", "both, or --images and --masks"),
)
"""Pairs of an option and the option that it requires, with the expected usage."""


def train(
    out: Annotated[Path, typer.Option("--out", help="New or empty folder for the run.", **NO_DEFAULT)],
    images: Annotated[Path | None, typer.Option("--images", help="Folder of training images.", **NO_DEFAULT)] = None,
    masks: Annotated[Path | None, typer.Option("--masks", help="Folder of training masks.", **NO_DEFAULT)] = None,
    val_images: ValImages = None,
    val_masks: ValMasks = None,
    classes: Classes = None,
    ignore: Ignore = None,
    mask_values: MaskValuesOption = None,
    mask_suffix: MaskSuffix = None,
    time_budget: TimeBudget = None,
    epochs: Epochs = None,
    start_from: StartFrom = None,
    renamed_classes: RenamedClasses = None,
    recipe: RecipeFile = None,
    settings: Settings = None,
    python: PythonFile = None,
    folds: Annotated[
        int | None, typer.Option("--folds", min=2, help="Number of cross-validation folds to train.", **NO_DEFAULT)
    ] = None,
    preset: Annotated[
        Literal["tgs-salt"] | None,
        typer.Option("--preset", help="Preset for a known data set, given by --data; trains five folds.", **NO_DEFAULT),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder that contains the data set for --preset.", **NO_DEFAULT)
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            "--seeds", min=2, help="Number of seeds to train; also prints the standard deviation.", **NO_DEFAULT
        ),
    ] = None,
    overwrite: Overwrite = False,
    resume: Annotated[bool, typer.Option("--resume", help="Resume an interrupted run with its own recipe.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Print the plan with reasons, time and memory, without training.")
    ] = False,
) -> None:
    """Train a U-Net on a folder of images and a folder of masks.

    Without `--epochs` and `--time-budget`, training takes 30 minutes, or the time set by the preset.
    """
    started = time.monotonic()  # the time budget includes the import of Keras, which takes several seconds
    from maskwright.training.begin_or_resume import check_same_settings
    from maskwright.training.recipe import Recipe
    from maskwright.training.recipe_fields import recipe_fields

    _check_options(
        {
            "--images": images,
            "--masks": masks,
            "--val-images": val_images,
            "--folds": folds,
            "--seeds": seeds,
            "--preset": preset,
            "--data": data,
            "--from": start_from,
            "--resume": resume,
            "--overwrite": overwrite,
            "--explain": explain,
        }
    )
    if preset is not None and folds is None and seeds is None:
        folds = _preset_folds(preset)
    fields = recipe_fields(
        images=images,
        masks=masks,
        val_images=val_images,
        val_masks=val_masks,
        classes=parse_classes(classes),
        ignore=ignore,
        mask_values=parse_mask_values(mask_values),
        mask_suffix=mask_suffix,
        time_budget=time_budget,
        epochs=epochs,
        start_from=start_from,
        renamed_classes=parse_renamed_classes(renamed_classes),
        preset=None if preset is None or data is None else _preset_fields(preset, data, out, explain=explain),
        recipe=recipe,
        settings=settings or (),
    )
    if resume:
        check_same_settings(out, fields)
        train_run(None, out, python, started=started)
        return
    complete = Recipe.from_dict(fields, source=str(recipe or "options"))
    if explain:
        _explain(complete, out, python, folds=folds, started=started)
    elif folds is not None or seeds is not None:
        _train_series(complete, out, python, folds=folds, seeds=seeds)
    else:
        train_run(complete, out, python, started=started, overwrite=overwrite)


def _check_options(given: Mapping[str, object]) -> None:
    """Check that the given options can be combined.

    Raises:
        UnusableOption: An option excludes or requires another one.
    """
    for option, excluded, expected in _CONFLICTS:
        if given[option] and given[excluded]:
            raise UnusableOption(option=option, problem=f"cannot be combined with {excluded}", expected=expected)
    for option, required, expected in _REQUIREMENTS:
        if given[option] and not given[required]:
            raise UnusableOption(option=option, problem=f"requires {required}", expected=expected)
    if given["--preset"] and given["--val-images"] and not given["--seeds"]:
        # With a preset, folds are trained by default, and the validation images of each fold are part of the data.
        problem = "without --seeds cannot be combined with --val-images"
        raise UnusableOption(option="--preset", problem=problem, expected="one of them, or --seeds as well")


def train_run(
    recipe: "Recipe | None", out: Path, python: Path | None, *, started: float, overwrite: bool = False
) -> None:
    """Train a network, or resume the run in ``out`` without a recipe, and print the paths of the results."""
    from maskwright.cli.reporter import ConsoleReporter
    from maskwright.framework import load_keras
    from maskwright.segmenter import Segmenter
    from maskwright.training.prefetch_check import prefetch_check
    from maskwright.training.run import Run
    from maskwright.training.start_file import with_channels_of_start

    # The data is checked while Keras is imported, unless a Python file of the user may change how files are read.
    is_late = recipe is None or (Run(out).is_begun and not overwrite) or python is not None
    with nullcontext() if recipe is None or is_late else prefetch_check(with_channels_of_start(recipe).data) as check:
        load_keras(optional_packages=python is not None)
        custom = load_python(python)
        with ConsoleReporter() as reporter:
            trained = Segmenter.train_recipe(
                recipe, out, overwrite=overwrite, custom=custom, reporter=reporter, started=started, check=check
            )
    run = Run.open(trained.folder)  # with several processes, each process except the first writes to a temporary folder
    print_line(f"network: {run.network}")
    print_line(f"report:  {run.report}")
    if run.read_facts().stopped_by == "interrupt":
        exit_interrupted(f"The best network so far is saved. Continue with: maskwright train --resume --out {out}")


def load_python(python: Path | None) -> "CustomParts":
    """Load the custom functions in a Python file of the user. Keras must already be imported."""
    from maskwright.training.custom import NO_CUSTOM_PARTS, load_custom_parts

    return NO_CUSTOM_PARTS if python is None else load_custom_parts(python)


def _train_series(recipe: "Recipe", out: Path, python: Path | None, *, folds: int | None, seeds: int | None) -> None:
    """Train a network for each fold or seed, print the scores, and tune the ensemble of the folds."""
    from maskwright.cli.reporter import ConsoleReporter
    from maskwright.cli.tables import series_table
    from maskwright.cli.tune import tune_folder
    from maskwright.framework import load_keras
    from maskwright.inference.ensemble import TUNING_FILE, TUNING_PAGE, write_ensemble
    from maskwright.segmenter import Segmenter
    from maskwright.training.duration import format_duration
    from maskwright.training.folds_and_seeds import Member, by_fold, by_seed, train_series, tuning_seconds
    from maskwright.training.planning_rules import DEFAULT_SECONDS
    from maskwright.training.run import Run

    load_keras(optional_packages=python is not None)
    custom = load_python(python)
    from maskwright.training.custom import record_custom_parts
    from maskwright.training.pretrained import with_weights_of_series
    from maskwright.training.train import speed_of_machine

    def members_of(series: "Recipe") -> list[Member]:
        return by_fold(series, folds) if folds is not None else by_seed(series, seeds or 1)

    def train_member(member: "Recipe", folder: Path) -> None:
        with ConsoleReporter() as reporter:
            Segmenter.train_recipe(member, folder, custom=custom, reporter=reporter, started=time.monotonic())

    complete = record_custom_parts(recipe, custom)
    planned = members_of(complete)
    complete = with_weights_of_series(
        complete,
        [Run(out / member.name) for member in planned],
        member=planned[0].recipe,
        rates=speed_of_machine(planned[0].recipe),
    )
    members = members_of(complete)
    budget, total = members[0].recipe.training.time_budget, complete.training.time_budget or DEFAULT_SECONDS
    if budget is not None:
        print_line(f"{len(members)} training runs of {format_duration(budget)}: {format_duration(total)} in total.")
    with interruptible():
        summary = train_series(members, out, train=train_member, report=print_line)
        print_table(series_table(summary, folds=folds is not None))
        print_line(f"summary: {out / 'summary.json'}")
        if folds is None:
            return
        if not complete.training.tune:
            write_ensemble(out, [out / member.name for member in members])
            print_line(f"Predict with the ensemble: maskwright predict {out} IMAGES --out MASKS")
            return
        results = [out / TUNING_FILE, out / TUNING_PAGE]
        newest = max(Run(out / member.name).facts.stat().st_mtime for member in members)
        if all(path.is_file() and path.stat().st_mtime > newest for path in results):
            print_line(f"tuning:  {results[1]} (from before; repeat it with: maskwright tune {out})")
        else:
            tune_folder(out, seconds=None if budget is None else tuning_seconds(total, len(members)))
            print_line(f"Predict with the ensemble: maskwright predict {out} IMAGES --out MASKS")


def _explain(recipe: "Recipe", out: Path, python: Path | None, *, folds: int | None, started: float) -> None:
    """Print the plan of a training run, or of the first fold, without training."""
    from maskwright.cli.reporter import print_plan
    from maskwright.framework import load_keras
    from maskwright.training.folds_and_seeds import by_fold

    load_keras(optional_packages=python is not None)
    from maskwright.training.dry_run import explain
    from maskwright.tune.after_training import TuningAfterTraining

    if folds is not None:
        print_line(f"The first of {folds} folds, which share the time:")
        recipe = by_fold(recipe, folds)[0].recipe
    with counter("Reading pairs") as count:
        plan = explain(
            recipe, out, custom=load_python(python), progress=count, started=started, tuner=TuningAfterTraining()
        )
    print_plan(plan)
    print_line("Nothing was trained. Change a choice with --set, such as --set training.batch_size=4")


def _preset_folds(name: str) -> int:
    """Return the number of folds of a preset."""
    from maskwright.tgs_salt.preset import PRESETS

    return PRESETS[name].folds


def _preset_fields(name: str, data: Path, out: Path, *, explain: bool) -> Mapping[str, Mapping[str, Any]]:
    """Read a data set in the layout of a preset, print warnings about it, and return the fields of its recipe.

    Raises:
        OutputNotEmpty: ``out`` contains files that were not written by training; they are not changed.
        InputError: The data has a different layout or is damaged.
    """
    from maskwright.tgs_salt.preset import PRESETS
    from maskwright.training.folds_and_seeds import MASKS_FOLDER, check_series_folder

    decoded = out / MASKS_FOLDER
    if explain:  # nothing may be written to --out
        temporary = tempfile.mkdtemp()
        atexit.register(shutil.rmtree, temporary, ignore_errors=True)
        decoded = Path(temporary, MASKS_FOLDER)
    else:
        check_series_folder(out)
    fields, notes = PRESETS[name].read(data, masks_into=decoded)
    for note in notes:
        print_warning(note)
    return fields
