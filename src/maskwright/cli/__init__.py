"""The command line: each command reads its options, calls into the package, and prints what came back."""

import errno
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from maskwright.cli.compare import compare
from maskwright.cli.console import console, counting, end_with, interruptible, say
from maskwright.cli.framework import load_framework_for
from maskwright.cli.large import RESULTS, UnusableOption, predict_large, refuse_beside, refuse_file
from maskwright.cli.options import (
    Classes,
    Epochs,
    Ignore,
    Images,
    Masks,
    MaskSuffix,
    MaskValuesOption,
    Optional,
    Overwrite,
    PythonFile,
    RecipeFile,
    Run,
    Settings,
    ValImages,
    ValMasks,
)
from maskwright.cli.training import (
    explain_plan,
    one_of_folds,
    own_functions,
    preset_folds,
    preset_with,
    refuse_beside_several,
    refuse_changes,
    train_members,
    train_run,
)
from maskwright.cli.tune import decide, ensemble, submit
from maskwright.errors import InputError
from maskwright.images.disk_full import is_disk_full

_OUT_OF_MEMORY = {"MemoryError", "ResourceExhaustedError", "OutOfMemoryError"}  # Python's, TensorFlow's and torch's
_LESS_MEMORY = {  # by command, what else than closing other programs helps
    "train": "lower training.batch_size or training.patch_size with --set, or ",
    "predict": "predict large images one by one, each with a .tif or .zarr as --out, use fewer --workers, or ",
}

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        say(f"maskwright {version('maskwright')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Folders of images and masks in; a trained U-Net, masks for images of any size and a page of results out."""


@app.command()
def train(
    out: Annotated[Path, typer.Option("--out", help="Folder of the run, new or empty.", show_default=False)],
    images: Annotated[Path | None, typer.Option("--images", help="Folder of training images.", **Optional)] = None,
    masks: Annotated[Path | None, typer.Option("--masks", help="Folder of training masks.", **Optional)] = None,
    val_images: ValImages = None,
    val_masks: ValMasks = None,
    classes: Classes = None,
    ignore: Ignore = None,
    mask_values: MaskValuesOption = None,
    mask_suffix: MaskSuffix = None,
    time_budget: Annotated[
        str | None,
        typer.Option("--time-budget", help="Time for the whole command: 90s, 20m, 1h30m.", **Optional),
    ] = None,
    epochs: Epochs = None,
    recipe: RecipeFile = None,
    settings: Settings = None,
    python: PythonFile = None,
    folds: Annotated[
        int | None,
        typer.Option("--folds", min=2, help="Train so many times, each part of the data held out in turn.", **Optional),
    ] = None,
    preset: Annotated[
        Literal["tgs-salt"] | None,
        typer.Option("--preset", help="Layout and recipe of a known job, in --data; five folds.", **Optional),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="With --preset: the folder of all its data.", **Optional)
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", min=2, help="Train so many times, for the spread of the scores.", **Optional),
    ] = None,
    overwrite: Overwrite = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run, by its own recipe.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say what the data decides, why, and what it takes; train nothing.")
    ] = False,
) -> None:
    """Train a U-Net on a folder of images and a folder of masks.

    Without `--epochs` and `--time-budget` it takes 30 minutes, with a preset the time of that.
    """
    from maskwright.training.recipe import Recipe
    from maskwright.training.recipe_fields import recipe_fields

    if preset is not None and folds is None and seeds is None and not explain:
        folds = preset_folds(preset)
    others: dict[str, object] = {"--explain": explain, "--resume": resume, "--overwrite": overwrite}
    several = refuse_beside_several(folds, seeds, others | {"--val-images": val_images})
    if data is not None and preset is None:
        raise UnusableOption(option="--data", found="no --preset", expected="both, or --images and --masks")
    preset_fields = {} if preset is None else preset_with(preset, data, images or masks, out, explain=explain)
    fields = recipe_fields(
        **_data_fields(images, masks, val_images, val_masks, classes, ignore, mask_values, mask_suffix),
        time_budget=time_budget,
        epochs=epochs,
        preset=preset_fields,
        recipe=recipe,
        settings=settings or (),
    )
    if several:
        train_members(Recipe.from_dict(fields, source=str(recipe or "options")), out, python, folds=folds, seeds=seeds)
    elif explain and resume:
        raise UnusableOption(option="--explain", found="--resume", expected="a training that has not begun")
    elif explain:
        planned = Recipe.from_dict(fields, source=str(recipe or "options"))
        explain_plan(planned if preset is None else one_of_folds(planned, preset_folds(preset)), out, python)
    elif resume:
        refuse_changes(out, fields)
        train_run(None, out, python, overwrite=False)
    else:
        train_run(Recipe.from_dict(fields, source=str(recipe or "options")), out, python, overwrite=overwrite)


@app.command("find-rate")
def find_rate(
    out: Annotated[Path, typer.Option("--out", help="Plot of loss against learning rate: a PNG.", show_default=False)],
    images: Images,
    masks: Masks,
    classes: Classes = None,
    ignore: Ignore = None,
    mask_values: MaskValuesOption = None,
    mask_suffix: MaskSuffix = None,
    time_budget: Annotated[
        str | None, typer.Option("--time-budget", help="Of the training that the rate is for.", **Optional)
    ] = None,
    epochs: Epochs = None,
    steps: Annotated[int, typer.Option("--steps", min=20, help="Steps to take, each at a higher rate.")] = 100,
    recipe: RecipeFile = None,
    settings: Settings = None,
    python: PythonFile = None,
    overwrite: Overwrite = False,
) -> None:
    """Raise the learning rate step by step, plot the loss, and suggest the rate at which it falls fastest."""
    from maskwright.framework import load_keras
    from maskwright.training.recipe import Recipe
    from maskwright.training.recipe_fields import recipe_fields

    if out.suffix.lower() != ".png" or out.is_dir() or (out.exists() and not overwrite):
        expected = "a new name in .png, or --overwrite for one that is there"
        raise UnusableOption(option="--out", found=str(out), expected=expected)
    data = _data_fields(images, masks, None, None, classes, ignore, mask_values, mask_suffix)
    fields = recipe_fields(**data, time_budget=time_budget, epochs=epochs, recipe=recipe, settings=settings or ())
    complete = Recipe.from_dict(fields, source=str(recipe or "options"))
    load_keras(optional_packages=python is not None)
    from maskwright.report.lr_plot import plot_rates
    from maskwright.training.find_lr import NoRate
    from maskwright.training.train import find_rate as find

    with counting("Raising the rate") as count:
        curve = find(complete, own=own_functions(python), steps=steps, watch=count)
    try:
        suggested = curve.suggested
    except NoRate:
        plot_rates(curve, None, out)
        say(f"plot: {out}")
        raise
    plot_rates(curve, suggested, out)
    say(f"The loss falls fastest at a learning rate of {suggested:.2g}: --set training.learning_rate={suggested:.2g}")
    say(f"plot: {out}")


@app.command()
def evaluate(
    run: Run,
    images: Images,
    masks: Masks,
    mask_suffix: MaskSuffix = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the scores to this file.", **Optional)] = None,
) -> None:
    """Score a run, or an engine exported from one, on a folder of images and masks."""
    from maskwright.cli.tables import score_table
    from maskwright.segmenter import Segmenter
    from maskwright.training.run_records import write_scores

    load_framework_for(run)
    segmenter = Segmenter.load(run)
    with counting() as count:
        evaluation = segmenter.evaluate(images, masks, mask_suffix=mask_suffix, progress=count)
    console().print(score_table(evaluation.scores, title=f"{len(evaluation.images)} images of {images}"))
    if (precision := evaluation.mean_precision) is not None:
        say(f"mean precision over IoU 0.5 to 0.95: {precision:.4f}")
    if json_file is not None:
        write_scores(json_file, evaluation.record())
        say(f"scores:  {json_file}")
    if evaluation.left_out:
        shown = ", ".join(str(file) for file in evaluation.left_out[:5])
        say(f"warning: {len(evaluation.left_out)} files without a partner were not scored, such as {shown}")
    end_with(evaluation.failures, of=len(evaluation.images) + len(evaluation.failures))


app.command()(compare)
app.command()(decide)
app.command()(ensemble)
app.command()(submit)


@app.command()
def predict(
    run: Run,
    inputs: Annotated[list[str], typer.Argument(help="Images, folders of images, or globs.", show_default=False)],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="Folder for the masks; or a .tif or .zarr for one image, which may then be larger than memory.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Literal["ids", "probabilities"],
        typer.Option("--output", help="Mask values, or float32 probabilities with a page or band for each class."),
    ] = "ids",
    overlay: Annotated[bool, typer.Option("--overlay", help="Also draw the classes over each image.")] = False,
    margin: Annotated[
        int | None, typer.Option("--margin", help="Large image: pixels of overlap; measured if absent.", **Optional)
    ] = None,
    polygons: Annotated[
        Path | None, typer.Option("--polygons", help="Large image: also outlines, into this GeoJSON.", **Optional)
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", help="Large image: so many processes on this machine.", **Optional)
    ] = None,
    dask: Annotated[
        str | None, typer.Option("--dask", help="Large image: the address of a Dask scheduler.", **Optional)
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a mask for every image. Called again, it goes on where it was."""
    from maskwright.segmenter import Segmenter

    large = {"--margin": margin, "--polygons": polygons, "--workers": workers, "--dask": dask}
    if out.suffix.lower() in RESULTS:
        refuse_beside(out, inputs, overlay=overlay, workers=workers, dask=dask)
        load_framework_for(run)
        segmenter = Segmenter.load(run)
        with interruptible():
            predict_large(segmenter, Path(inputs[0]), out, output, margin, polygons, workers, dask, overwrite)
        return
    refuse_file(out)
    for option, value in large.items():
        if value is not None:
            raise UnusableOption(option=option, found=f"--out {out}", expected="a .tif, .tiff or .zarr there")
    load_framework_for(run)
    segmenter = Segmenter.load(run)
    with interruptible(), counting() as count:
        results = segmenter.predict_files(
            inputs, out, output=output, overlay=overlay, overwrite=overwrite, done=lambda n, total, _: count(n, total)
        )
    already = sum(result.already_done for result in results)
    failures = [result.error for result in results if result.error is not None]
    kept = f", {already} of them from before" if already else ""
    say(f"masks:   {out} ({len(results) - len(failures)}{kept})")
    end_with(failures, of=len(results))


@app.command()
def check(
    images: Images,
    masks: Masks,
    val_images: ValImages = None,
    val_masks: ValMasks = None,
    classes: Classes = None,
    ignore: Ignore = None,
    mask_values: MaskValuesOption = None,
    mask_suffix: MaskSuffix = None,
) -> None:
    """Look for all that would spoil a training: unpaired, damaged, mismatched or duplicate files, strange masks."""
    from maskwright.cli.tables import balance_table, print_problems, summary_table
    from maskwright.training.prepare import check_data
    from maskwright.training.recipe import Recipe
    from maskwright.training.recipe_fields import recipe_fields

    data = _data_fields(images, masks, val_images, val_masks, classes, ignore, mask_values, mask_suffix)
    with counting("Reading pairs") as count:
        report, *_ = check_data(Recipe.from_dict(recipe_fields(**data), source="options").data, progress=count)
    console().print(summary_table(report))
    if report.proposed is not None:
        console().print(balance_table(report, report.proposed))
    print_problems(console(), report)
    fatal = len(report.fatal)
    say(f"{fatal} fatal, {len(report.warnings)} warnings" if report.problems else "No problems found.")
    raise typer.Exit(1 if fatal else 0)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Folder of a training run.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Folder for the engine, new or empty.", show_default=False)],
    to: Annotated[
        Literal["openvino", "onnx", "litert", "saved_model"], typer.Option("--to", help="What computes.")
    ] = "openvino",
    precision: Annotated[
        Literal["f32", "bf16", "int8"], typer.Option("--precision", help="bf16 and int8: openvino only.")
    ] = "f32",
    rewrite: Annotated[bool, typer.Option(help="Rewrite the graph into an equal one that costs less.")] = True,
    overwrite: Overwrite = False,
) -> None:
    """Make an engine of a run, which `predict` opens without Keras, and check it on the validation images."""
    import os

    os.environ["KERAS_BACKEND"] = "tensorflow"  # a run of any backend opens there, and every exporter starts there
    from maskwright.cli.tables import checks_table
    from maskwright.framework import load_keras

    load_keras()
    from maskwright.export.export import export_run

    with counting("Checking") as count:
        exported = export_run(
            run, out, to=to, precision=precision, rewrite=rewrite, overwrite=overwrite, progress=count
        )
    console().print(checks_table(exported))
    say(f"engine:  {out}")


@app.command()
def convert(
    source: Annotated[
        Path,
        typer.Argument(help="A run, .keras, Keras 2 .h5, or torch .safetensors, .pth or .ckpt.", show_default=False),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="A .keras file, or a folder that `predict` takes; for smp a .safetensors file, or a folder.",
            show_default=False,
        ),
    ],
    to: Annotated[Literal["keras", "smp"], typer.Option("--to", help="Whose network to write.")] = "keras",
    classes: Classes = None,
    mask_values: MaskValuesOption = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="name=value of what weights alone do not tell: activation=softmax.", **Optional),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Open a checkpoint of segmentation_models or torch here, or take a run to torch.

    Masks stay what they were. What cannot be converted is refused by its name; nothing is skipped.
    """
    from maskwright.framework import load_keras

    load_keras()
    from maskwright.conversion.convert_weights import convert as convert_file
    from maskwright.conversion.convert_weights import named_values
    from maskwright.data.mask_values import parse_mask_values
    from maskwright.training.recipe_text import parse_assignments

    values = parse_mask_values(mask_values) if mask_values is not None else named_values(_names(classes))
    options = parse_assignments(settings or [])
    converted = convert_file(source, out, to=to, mask_values=values, overwrite=overwrite, options=options)
    say(f"written: {converted.written}")
    for note in converted.notes:
        say(f"note:    {note}")


@app.command()
def backbones() -> None:
    """List the encoders: their parameters, and what weights are published for each."""
    from maskwright.framework import load_keras

    load_keras()
    from maskwright.networks import backbones as table

    say(str(table()))


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for the data, the run and the masks.")] = Path("demo"),
    time_budget: Annotated[str, typer.Option("--time-budget", help="How long the training may take.")] = "170s",
    overwrite: Overwrite = False,
) -> None:
    """Draw a small data set, train on it, evaluate, predict, and say where to look."""
    from maskwright.data.demo import draw_demo
    from maskwright.training.recipe import Recipe
    from maskwright.training.run import Run

    data, run = out / "data", out / "run"
    Run.planned(run, overwrite=overwrite)
    draw_demo(data)
    fields = {
        "data": {"images": data / "train/images", "masks": data / "train/masks"}
        | {"val_images": data / "val/images", "val_masks": data / "val/masks"}
        | {"mask_values": {0: "background", 1: "cell", 2: "fibre"}},
        "augmentation": {"flip": "horizontal_and_vertical"},
        "training": {"time_budget": time_budget, "patch_size": (128, 128)},
    }
    train_run(Recipe.from_dict(fields), run, None, overwrite=overwrite)
    evaluate(run, data / "new/images", data / "new/masks", json_file=out / "new.json")
    predict(run, [str(data / "new/images")], out / "masks", overlay=True, overwrite=overwrite)
    say(
        f"Open {run / 'report.html'} in a browser; {out / 'masks'} has the masks and overlays of images not trained on."
    )


def _data_fields(
    images: Path | None,
    masks: Path | None,
    val_images: Path | None,
    val_masks: Path | None,
    classes: str | None,
    ignore: str | None,
    mask_values: str | None,
    mask_suffix: str | None,
) -> "dict[str, Any]":
    """The recipe's data section from options; None where nothing was said."""
    from maskwright.data.mask_values import parse_mask_values

    names = _names(classes)
    return {
        "images": images,
        "masks": masks,
        "val_images": val_images,
        "val_masks": val_masks,
        "classes": int(names[0]) if names and len(names) == 1 and names[0].isdecimal() else names,
        "ignore": ignore,
        "mask_values": None if mask_values is None else dict(parse_mask_values(mask_values).words),
        "mask_suffix": mask_suffix,
    }


def _names(classes: str | None) -> tuple[str, ...] | None:
    return None if classes is None else tuple(name.strip() for name in classes.split(","))


def main() -> None:
    """Run a command; a mistake of the user becomes one message on standard error and a non-zero exit code."""
    try:
        app()
    except InputError as error:
        _fail(str(error))
    except OSError as error:
        if is_disk_full(error):
            reason = os.strerror(error.errno or errno.ENOSPC).lower()
            _fail(f"{error.filename or 'the output'}: {reason}; free disk space or write to another disk")
        _fail(f"{error.filename or 'a file'}: {error.strerror or error}")
    except ModuleNotFoundError as error:
        _fail(f"{error.name} is not installed; networks need Keras and a backend: pip install 'maskwright[tensorflow]'")
    except Exception as error:
        if not _OUT_OF_MEMORY & {kind.__name__ for kind in type(error).__mro__}:
            raise
        _fail(f"out of memory; {_LESS_MEMORY.get(sys.argv[1], '')}close other programs")


def _fail(message: str) -> None:
    sys.stderr.write(f"error: {message}\n")
    sys.exit(1)
