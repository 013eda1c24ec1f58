"""The command ``ensemble``."""

from pathlib import Path
from typing import Annotated

import typer

from maskwright.cli.console import counter, interruptible, print_line, print_note
from maskwright.cli.options import NO_DEFAULT, Overwrite, TuningTime, UnusableOption, parse_time_budget
from maskwright.cli.tune import TUNING_INTERRUPTED, print_tuning


def ensemble(
    members: Annotated[
        list[Path],
        typer.Argument(metavar="RUN RUN...", help="Folders of runs, snapshots or engines to combine.", **NO_DEFAULT),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the ensemble, new or empty.", **NO_DEFAULT)],
    tuned_by: Annotated[
        Path | None,
        typer.Option(
            "--tuned-by", help="Run or ensemble whose tuning is copied; no images are predicted.", **NO_DEFAULT
        ),
    ] = None,
    time_budget: TuningTime = None,
    overwrite: Overwrite = False,
) -> None:
    """Average the probabilities of several networks; `predict` and `evaluate` accept the ensemble like a run.

    The gain is measured on held-out images, and the ensemble is tuned as by `tune`. If the mean does not improve the
    score, networks without a gain are left out. Only one network is in memory at a time.
    """
    from maskwright.inference.bundle import Bundle
    from maskwright.inference.ensemble import check_ensemble_folder, read_ensemble, write_ensemble

    if tuned_by is not None and time_budget is not None:
        raise UnusableOption(
            option="--time-budget",
            problem="cannot be combined with --tuned-by, which copies the tuning",
            expected="one of them",
        )
    check_ensemble_folder(out, overwrite=overwrite)
    if tuned_by is not None:
        write_ensemble(out, members, Bundle.read(tuned_by))
    elif not _tune_ensemble(members, out, seconds=parse_time_budget(time_budget)):
        write_ensemble(out, members)
        print_note("the gain was not measured: not every member is a run whose held-out images still exist")
    print_line(f"ensemble: {out} (networks: {len(read_ensemble(out).members)})")


def _tune_ensemble(members: list[Path], out: Path, *, seconds: float | None) -> bool:
    """Create and tune the ensemble; return False if the images held out for its networks are not known."""
    from maskwright.framework import load_keras
    from maskwright.tune.held_out import networks_of_runs
    from maskwright.tune.tune import tune_ensemble

    networks = networks_of_runs(members)
    if networks is None:
        return False
    load_keras()
    with interruptible(TUNING_INTERRUPTED), counter("Predicting held-out images") as count:
        result = tune_ensemble(networks, out, seconds=seconds, progress=count)
    print_tuning(result, out)
    return True
