"""The command ``demo``."""

import time
from pathlib import Path
from typing import Annotated

import typer

from maskwright.cli.console import print_line
from maskwright.cli.evaluate import evaluate
from maskwright.cli.options import Overwrite
from maskwright.cli.predict import predict
from maskwright.cli.train import train_run


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for the data, the run and the masks.")] = Path("demo"),
    time_budget: Annotated[str, typer.Option("--time-budget", help="Time budget of training.")] = "170s",
    overwrite: Overwrite = False,
) -> None:
    """Draw a small data set, train a network on it, evaluate the network and predict new images."""
    from maskwright.data.demo import draw_demo
    from maskwright.training.begin_or_resume import is_resumed
    from maskwright.training.recipe import Recipe
    from maskwright.training.recipe_fields import recipe_fields
    from maskwright.training.run import Run

    data, run = out / "data", out / "run"
    fields = recipe_fields(
        images=data / "train/images",
        masks=data / "train/masks",
        val_images=data / "val/images",
        val_masks=data / "val/masks",
        mask_values={0: "background", 1: "cell", 2: "fibre"},
        time_budget=time_budget,
        recipe={
            "network": {"encoder_weights": "none"},
            "augmentation": {"flip": "horizontal_and_vertical"},
            "training": {"patch_size": (128, 128)},
        },
    )
    recipe = Recipe.from_dict(fields)
    is_resumed(Run(run), recipe, overwrite=overwrite)  # raise errors about the output before the data is drawn
    draw_demo(data)
    train_run(recipe, run, None, started=time.monotonic(), overwrite=overwrite)
    evaluate(run, data / "new/images", data / "new/masks", json_file=out / "new.json")
    predict(run, [str(data / "new/images")], out / "masks", overlay=True, overwrite=overwrite)
    print_line(f"Open {run / 'report.html'} in a browser. Masks and overlays of the new images: {out / 'masks'}")
