"""Options that are shared by several commands, and checks of options and outputs."""

import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from maskwright.cli.console import Verbosity, interruptible, is_quiet, is_verbose, set_verbosity
from maskwright.errors import InputError

# Options for recipe fields have no default here, because values for unset fields are chosen from the data.
NO_DEFAULT = {"show_default": False}

Images = Annotated[Path, typer.Option("--images", help="Folder of images.", show_default=False)]
Masks = Annotated[
    Path, typer.Option("--masks", help="Folder of masks, with the same names as the images.", show_default=False)
]
ValImages = Annotated[Path | None, typer.Option("--val-images", help="Folder of validation images.", **NO_DEFAULT)]
ValMasks = Annotated[Path | None, typer.Option("--val-masks", help="Folder of validation masks.", **NO_DEFAULT)]
MaskKindOption = Annotated[
    Literal["class_ids", "objects"] | None,
    typer.Option(
        "--mask-kind",
        help="Meaning of mask values: one value per class (`class_ids`), or 0 for background and one value per object "
        "(`objects`).",
        **NO_DEFAULT,
    ),
]
Classes = Annotated[
    str | None,
    typer.Option("--classes", help="Number of classes, or comma-separated names in order of mask value.", **NO_DEFAULT),
]
Ignore = Annotated[
    str | None,
    typer.Option("--ignore", help="Mask value of pixels that are excluded from training and scores.", **NO_DEFAULT),
]
MaskValuesOption = Annotated[
    str | None,
    typer.Option(
        "--mask-values",
        help='Meaning of each mask value or `#rrggbb` colour, such as "0=background,255=cell", or a YAML file. '
        "The value `others` stands for all numbers that are not listed.",
        **NO_DEFAULT,
    ),
]
MaskSuffix = Annotated[
    str | None,
    typer.Option("--mask-suffix", help="Suffix of mask names after the image name, such as `_mask`.", **NO_DEFAULT),
]
TimeBudget = Annotated[
    str | None,
    typer.Option("--time-budget", help="Time limit of the whole command, such as 90s, 20m or 1h30m.", **NO_DEFAULT),
]
TuningTime = Annotated[
    str | None,
    typer.Option(
        "--time-budget",
        help="Time limit, such as 5m; if it is short, fewer options are tried or fewer images used.",
        **NO_DEFAULT,
    ),
]
Epochs = Annotated[int | None, typer.Option("--epochs", help="Number of passes over the training data.", **NO_DEFAULT)]
StartFrom = Annotated[
    Path | None,
    typer.Option(
        "--from",
        help="Trained network from which training starts: a run, or a .keras, .h5 or .safetensors file.",
        **NO_DEFAULT,
    ),
]
RenamedClasses = Annotated[
    list[str] | None,
    typer.Option(
        "--rename-class",
        help="OLD=NEW: new name of a class of the --from network, whose output channel is kept; repeatable.",
        **NO_DEFAULT,
    ),
]
RecipeFile = Annotated[Path | None, typer.Option("--recipe", help="YAML file with a recipe.", **NO_DEFAULT)]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Recipe field as section.field=value, such as training.batch_size=4; repeatable.", **NO_DEFAULT
    ),
]
PythonFile = Annotated[
    Path | None,
    typer.Option(
        "--python",
        help="Python file with custom functions: loss, network, augmentation and callback.",
        **NO_DEFAULT,
    ),
]
Run = Annotated[Path, typer.Argument(help="Folder of a run, an engine or an ensemble.", show_default=False)]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        help="Device for prediction, such as cpu, gpu or gpu:1; chosen by the runtime by default.",
        **NO_DEFAULT,
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing results.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="List all files that a warning concerns.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print errors only.")]


class UnusableOption(InputError):
    """Raised if an option excludes or requires another one, or ``--out`` has the wrong suffix; the exit code is 2."""

    text = "{option} {problem}; expected {expected}."


class UnusableOutput(InputError):
    """Raised if a command must not replace an existing file or folder; the exit code is 1."""

    text = "--out {file}: found {found}; expected {expected}."


def check_output_file(file: Path, *, suffix: str, overwrite: bool) -> None:
    """Check the path of an output file.

    Raises:
        UnusableOption: The path does not end in ``suffix``.
        UnusableOutput: The path exists and must not be replaced.
    """
    if file.suffix.lower() != suffix:
        problem = f"{file} has {f'the suffix {file.suffix}' if file.suffix else 'no suffix'}"
        raise UnusableOption(option="--out", problem=problem, expected=f"a name in {suffix}")
    if file.is_dir():
        raise UnusableOutput(file=file, found="a folder of that name", expected=f"a new name in {suffix}")
    if file.exists() and not overwrite:
        raise UnusableOutput(file=file, found="an existing file", expected="a new name, or --overwrite")


def parse_classes(classes: str | None) -> int | tuple[str, ...] | None:
    """Parse ``--classes``, which is a number or comma-separated names.

    >>> parse_classes("3"), parse_classes("road, car")
    (3, ('road', 'car'))
    """
    names = split_names(classes)
    return int(names[0]) if names and len(names) == 1 and names[0].isdecimal() else names


def parse_mask_values(mask_values: str | None) -> dict[int | str, str] | None:
    """Convert ``--mask-values`` to a mapping from mask value to class name."""
    if mask_values is None:
        return None
    from maskwright.data.mask_values import parse_mask_values as parse

    return dict(parse(mask_values).classes_by_value)


def parse_renamed_classes(renamings: Sequence[str] | None) -> dict[str, str] | None:
    """Convert the values of ``--rename-class`` to a mapping from the old name of each class to its new name.

    Raises:
        UnusableOption: A value is not of the form ``OLD=NEW``, or a class has two new names.

    >>> parse_renamed_classes(["cell=nucleus", "fibre = thread"])
    {'cell': 'nucleus', 'fibre': 'thread'}
    """
    if not renamings:
        return None
    renamed: dict[str, str] = {}
    for renaming in renamings:
        old, _, new = (part.strip() for part in renaming.partition("="))
        if not (old and new):
            raise UnusableOption(option="--rename-class", problem=f"{renaming} is not a renaming", expected="OLD=NEW")
        if renamed.setdefault(old, new) != new:
            problem = f"gives {old} the names {renamed[old]} and {new}"
            raise UnusableOption(option="--rename-class", problem=problem, expected="one new name for each class")
    return renamed


def parse_time_budget(duration: str | None) -> float | None:
    """Convert ``--time-budget`` to a number of seconds."""
    if duration is None:
        return None
    from maskwright.training.recipe_text import seconds_in

    return seconds_in(duration, source="--time-budget")


def split_names(classes: str | None) -> tuple[str, ...] | None:
    """Split a comma-separated list of class names."""
    return None if classes is None else tuple(name.strip() for name in classes.split(","))


def choose_verbosity(*, verbose: bool, quiet: bool) -> None:
    """Set the verbosity from the options of a command or of the application; without an option, it is unchanged.

    Raises:
        UnusableOption: Both ``--verbose`` and ``--quiet`` were given, before or after the name of the command.
    """
    if (verbose or is_verbose()) and (quiet or is_quiet()):
        raise UnusableOption(option="--quiet", problem="cannot be combined with --verbose", expected="one of them")
    if verbose or quiet:
        set_verbosity(Verbosity.VERBOSE if verbose else Verbosity.QUIET)


def unwrap_paragraphs(docstring: str) -> str:
    """Join the lines of each paragraph, because Typer prints the line breaks of a docstring.

    >>> unwrap_paragraphs("One line.\\n\\nTwo\\nlines.")
    'One line.\\n\\nTwo lines.'
    """
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in docstring.split("\n\n"))


def _hide_bars_if_quiet() -> AbstractContextManager[None]:
    """Return a context manager that hides the progress bars of downloads if only errors are printed."""
    if not is_quiet():
        return nullcontext()
    from maskwright.weights.download import hidden_bars

    return hidden_bars()


def with_verbosity(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options ``--verbose`` and ``--quiet`` to a command, and exit with code 130 on Ctrl-C."""

    @wraps(command)
    def wrapped(*args: Any, verbose: bool = False, quiet: bool = False, **options: Any) -> None:
        choose_verbosity(verbose=verbose, quiet=quiet)
        with interruptible("Run the same command again to repeat it."), _hide_bars_if_quiet():
            command(*args, **options)

    # Typer reads the options of a command from its signature and annotations.
    added = {"verbose": Verbose, "quiet": Quiet}
    signature = inspect.signature(command)
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation)
        for name, annotation in added.items()
    ]
    wrapped.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *parameters])  # type: ignore[attr-defined]
    wrapped.__annotations__ = {**command.__annotations__, **added}
    return wrapped
