"""The commands that follow training: decide by images that were held out, average networks, write a submission."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maskwright.cli.console import console, counting, end_with, interruptible, say
from maskwright.cli.large import UnusableOption

if TYPE_CHECKING:
    from maskwright.tune.tune import Decision

_INTERRUPTED = "give the command again: it decides anew"

TimeToAsk = Annotated[
    str | None,
    typer.Option(
        "--time-budget", help="Time for asking, such as 5m; some images are asked for where it does not do for all."
    ),
]


def decide(
    run: Annotated[
        Path, typer.Argument(help="A finished run, or a folder of them from `train --folds`.", show_default=False)
    ],
    time_budget: TimeToAsk = None,
) -> None:
    """Choose views, holes, threshold and least areas by the images that were held out; `predict` uses the choice."""
    from maskwright.framework import load_keras

    load_keras()
    with interruptible(_INTERRUPTED):
        decide_and_tell(run, seconds=_seconds(time_budget))


def decide_and_tell(folder: Path, *, seconds: float | None = None) -> None:
    """Decide in so many seconds, and say what was tried and where the page is; Keras is loaded by then."""
    from maskwright.tune.tune import decide as decide_in

    with counting("Asking networks of held-out images") as count:
        decision = decide_in(folder, seconds=seconds, progress=count)
    _tell(decision, folder)


def _tell(decision: "Decision", folder: Path) -> None:
    from maskwright.cli.tables import decision_table
    from maskwright.tune.page import write_page

    console().print(decision_table(decision))
    say(f"decided: {write_page(decision, folder)}")


def _seconds(time_budget: str | None) -> float | None:
    from maskwright.training.recipe import seconds_in

    return None if time_budget is None else seconds_in(time_budget, source="--time-budget")


def ensemble(
    members: Annotated[
        list[Path],
        typer.Argument(metavar="RUN RUN...", help="Runs, snapshots of them, or engines.", show_default=False),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the ensemble, new or empty.", show_default=False)],
    decided: Annotated[
        Path | None,
        typer.Option("--decided", help="Run or ensemble whose decision to take; no image is asked for then."),
    ] = None,
    time_budget: TimeToAsk = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an ensemble that is there already.")] = False,
) -> None:
    """Average networks in probability; `predict` and `evaluate` take the folder as they take a run's.

    What that gains is measured on the images that were held out, and decided as by `decide`: where the mean gains
    nothing, those networks alone are taken that do as well. One network at a time is in memory.
    """
    from maskwright.inference.bundle import Bundle
    from maskwright.inference.ensemble import read_ensemble, refuse_folder, write_ensemble

    refuse_folder(out, overwrite=overwrite)
    if decided is not None and time_budget is not None:
        raise UnusableOption(
            option="--time-budget", found="--decided", expected="one of them: no image is asked for then"
        )
    if decided is not None:
        write_ensemble(out, members, Bundle.read(decided))
    elif not _ensemble_decided(members, out, seconds=_seconds(time_budget)):
        write_ensemble(out, members)
        say("Not measured what this gains: not every member is a run, with the images that were held out still there.")
    say(f"ensemble: {out} (networks: {len(read_ensemble(out).members)})")


def _ensemble_decided(members: list[Path], out: Path, *, seconds: float | None) -> bool:
    """Whether the gain could be measured; if so, it is told."""
    from maskwright.framework import load_keras
    from maskwright.tune.held_out import networks_with_runs
    from maskwright.tune.tune import decide_ensemble

    networks = networks_with_runs(members)
    if networks is None:
        return False
    load_keras()
    with interruptible(_INTERRUPTED), counting("Asking networks of held-out images") as count:
        decision = decide_ensemble(networks, out, seconds=seconds, progress=count)
    _tell(decision, out)
    return True


def submit(
    run: Annotated[Path, typer.Argument(help="A run, an engine, or an ensemble, of one class.", show_default=False)],
    images: Annotated[Path, typer.Option("--images", help="Folder of the images to submit.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="The CSV file of run-lengths.", show_default=False)],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there already.")] = False,
) -> None:
    """Predict a folder into one CSV file, `id,rle_mask`: run-lengths down the columns, counted from 1."""
    from maskwright.cli.framework import load_framework_for
    from maskwright.inference.load_predictor import digest_of_weights, open_predictor
    from maskwright.inference.predict_folder import Job
    from maskwright.tgs_salt.submission import write_submission

    load_framework_for(run)
    job = Job(open_predictor(run), digest_of_weights(run))
    with interruptible(), counting() as count:
        submission = write_submission(job, images, out, overwrite=overwrite, progress=count)
    empty = f", {submission.empty} of them empty" if submission.empty else ""
    say(f"submission: {out} ({submission.written} masks{empty})")
    end_with(list(submission.failures), of=submission.written + len(submission.failures))
