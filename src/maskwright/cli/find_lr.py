"""The command ``find-lr``."""

from pathlib import Path
from typing import Annotated

import typer

from maskwright.cli.console import counter, print_line
from maskwright.cli.options import (
    NO_DEFAULT,
    Classes,
    Epochs,
    Ignore,
    Images,
    Masks,
    MaskSuffix,
    MaskValuesOption,
    Overwrite,
    PythonFile,
    RecipeFile,
    RenamedClasses,
    Settings,
    StartFrom,
    check_output_file,
    parse_classes,
    parse_mask_values,
    parse_renamed_classes,
)


def find_lr(
    out: Annotated[Path, typer.Option("--out", help="PNG file for the plot of loss over learning rate.", **NO_DEFAULT)],
    images: Images,
    masks: Masks,
    classes: Classes = None,
    ignore: Ignore = None,
    mask_values: MaskValuesOption = None,
    mask_suffix: MaskSuffix = None,
    time_budget: Annotated[
        str | None,
        typer.Option("--time-budget", help="Time budget of the planned training run.", **NO_DEFAULT),
    ] = None,
    epochs: Epochs = None,
    steps: Annotated[int, typer.Option("--steps", min=20, help="Number of training steps.")] = 100,
    start_from: StartFrom = None,
    renamed_classes: RenamedClasses = None,
    recipe: RecipeFile = None,
    settings: Settings = None,
    python: PythonFile = None,
    overwrite: Overwrite = False,
) -> None:
    """Increase the learning rate at each step, plot the loss, and suggest the rate at its steepest decrease."""
    from maskwright.cli.train import load_python
    from maskwright.framework import load_keras
    from maskwright.training.recipe import Recipe
    from maskwright.training.recipe_fields import recipe_fields

    check_output_file(out, suffix=".png", overwrite=overwrite)
    fields = recipe_fields(
        images=images,
        masks=masks,
        classes=parse_classes(classes),
        ignore=ignore,
        mask_values=parse_mask_values(mask_values),
        mask_suffix=mask_suffix,
        time_budget=time_budget,
        epochs=epochs,
        start_from=start_from,
        renamed_classes=parse_renamed_classes(renamed_classes),
        recipe=recipe,
        settings=settings or (),
    )
    complete = Recipe.from_dict(fields, source=str(recipe or "options"))
    load_keras(optional_packages=python is not None)
    from maskwright.report.lr_plot import plot_lr_curve
    from maskwright.training.dry_run import find_lr as find
    from maskwright.training.find_lr import LossDidNotFall

    with counter("Increasing the learning rate") as count:
        curve = find(complete, custom=load_python(python), steps=steps, progress=count)
    try:
        suggested = curve.suggested
    except LossDidNotFall:
        plot_lr_curve(curve, None, out)
        print_line(f"plot:    {out}")
        raise
    plot_lr_curve(curve, suggested, out)
    print_line(f"Suggested learning rate {suggested:.2g}: --set training.learning_rate={suggested:.2g}")
    print_line(f"plot:    {out}")
