"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

Images = Annotated[Path, typer.Option("--images", help="Folder of images.", show_default=False)]
Masks = Annotated[Path, typer.Option("--masks", help="Folder of masks, named as their images.", show_default=False)]
Optional = {"show_default": False}
ValImages = Annotated[Path | None, typer.Option("--val-images", help="Folder of validation images.", **Optional)]
ValMasks = Annotated[Path | None, typer.Option("--val-masks", help="Folder of validation masks.", **Optional)]
Classes = Annotated[
    str | None, typer.Option("--classes", help="Their number, or names with commas in order of mask value.", **Optional)
]
Ignore = Annotated[str | None, typer.Option("--ignore", help="Mask value of pixels that do not count.", **Optional)]
MaskValuesOption = Annotated[
    str | None,
    typer.Option(
        "--mask-values", help='"0=background,255=cell", with `#rrggbb` for colours, or a YAML file of it.', **Optional
    ),
]
MaskSuffix = Annotated[
    str | None, typer.Option("--mask-suffix", help="What mask names have after the image's, e.g. `_mask`.", **Optional)
]
Epochs = Annotated[int | None, typer.Option("--epochs", help="Passes over the training pixels.", **Optional)]
RecipeFile = Annotated[Path | None, typer.Option("--recipe", help="YAML file of a recipe.", **Optional)]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="section.field=value of the recipe; may be repeated.", **Optional)
]
PythonFile = Annotated[
    Path | None,
    typer.Option(
        "--python",
        help="Python file, which is run: its functions loss, network, augmentation and callback take the place of "
        "the recipe's.",
        **Optional,
    ),
]
Run = Annotated[
    Path, typer.Argument(help="Folder of a training run, or of an engine exported from one.", show_default=False)
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results that are there already.")]
