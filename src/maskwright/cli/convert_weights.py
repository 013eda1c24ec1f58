"""The command ``convert-weights``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from maskwright.cli.console import print_line, print_note
from maskwright.cli.options import NO_DEFAULT, Classes, MaskValuesOption, Overwrite, UnusableOption, split_names


def convert_weights(
    source: Annotated[
        Path,
        typer.Argument(
            help="Run, .keras file, Keras 2 .h5 file, or PyTorch .safetensors, .pth or .ckpt file to convert.",
            **NO_DEFAULT,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="New .keras file or folder for `predict`; with --to smp, new .safetensors file or folder.",
            **NO_DEFAULT,
        ),
    ],
    to: Annotated[
        Literal["keras", "smp"],
        typer.Option("--to", help="Format to write: Keras or segmentation_models_pytorch (smp)."),
    ] = "keras",
    classes: Classes = None,
    mask_values: MaskValuesOption = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Setting that the file does not store, such as activation=softmax; repeatable.", **NO_DEFAULT
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Convert weights of segmentation_models or segmentation_models_pytorch to Keras 3, or a run to PyTorch.

    The converted network predicts the same masks. If a layer cannot be converted, the command exits with an error.
    """
    from maskwright.framework import load_keras

    load_keras()
    from maskwright.conversion.convert_weights import convert, mismatched_suffix, named_values
    from maskwright.data.mask_values import parse_mask_values
    from maskwright.training.recipe_text import parse_assignments

    if (suffix := mismatched_suffix(out, to=to)) is not None:
        expected = f"a file that ends in {suffix}, or a folder"
        raise UnusableOption(option="--out", problem=f"{out} has the suffix {out.suffix}", expected=expected)
    values = parse_mask_values(mask_values) if mask_values is not None else named_values(split_names(classes))
    options = parse_assignments(settings or [])
    converted = convert(source, out, to=to, mask_values=values, overwrite=overwrite, options=options)
    print_line(f"written: {converted.written}")
    for note in converted.notes:
        print_note(note)
