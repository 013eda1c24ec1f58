"""The command ``tune``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maskwright.cli.console import counter, interruptible, print_line, print_table
from maskwright.cli.options import NO_DEFAULT, TuningTime, parse_time_budget

if TYPE_CHECKING:
    from maskwright.tune.result import TuningResult

TUNING_INTERRUPTED = "Nothing was changed. Run the same command again to tune from the start."


def tune(
    run: Annotated[
        Path, typer.Argument(help="Folder of a finished run, or of the runs written by `train --folds`.", **NO_DEFAULT)
    ],
    time_budget: TuningTime = None,
) -> None:
    """Tune test-time augmentation, threshold, hole filling and minimum component size on held-out images.

    Training ends with the same tuning, unless the recipe turns it off. The result is used by `predict` and `evaluate`.
    """
    from maskwright.framework import load_keras

    load_keras()
    with interruptible(TUNING_INTERRUPTED):
        tune_folder(run, seconds=parse_time_budget(time_budget))


def tune_folder(folder: Path, *, seconds: float | None = None) -> None:
    """Tune a run or a folder of runs within ``seconds`` seconds, and print the result. Keras must already be
    imported."""
    from maskwright.tune.tune import tune as tune_run

    with counter("Predicting held-out images") as count:
        result = tune_run(folder, seconds=seconds, progress=count)
    print_tuning(result, folder)


def print_tuning(result: "TuningResult", folder: Path) -> None:
    """Print the result of tuning the run or the ensemble in ``folder``."""
    from maskwright.cli.tables import tuning_table
    from maskwright.inference.ensemble import TUNING_PAGE

    if result.options:
        print_table(tuning_table(result))
    for line in result.summary():
        print_line(line)
    print_line(f"tuning:  {folder / TUNING_PAGE}")
