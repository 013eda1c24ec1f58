"""The command ``submit``."""

from pathlib import Path
from typing import Annotated

import typer

from maskwright.cli.console import counter, exit_if_failed, interruptible, load_framework_for, print_line
from maskwright.cli.options import NO_DEFAULT, Overwrite, check_output_file


def submit(
    run: Annotated[Path, typer.Argument(help="Folder of a run, engine or ensemble with one class.", **NO_DEFAULT)],
    images: Annotated[Path, typer.Option("--images", help="Folder of the images to predict.", **NO_DEFAULT)],
    out: Annotated[Path, typer.Option("--out", help="CSV file for the run-length encoded masks.", **NO_DEFAULT)],
    overwrite: Overwrite = False,
) -> None:
    """Predict a folder of images and write one CSV file of run-length encoded masks, `id,rle_mask`.

    Pixels are numbered column by column, starting at 1.
    """
    from maskwright.inference.load_predictor import load_predictor, predictor_digest
    from maskwright.inference.predict_folder import PredictionJob
    from maskwright.tgs_salt.submission import write_submission

    check_output_file(out, suffix=".csv", overwrite=overwrite)
    load_framework_for(run)
    job = PredictionJob(load_predictor(run), predictor_digest(run))
    with interruptible(), counter("Predicting") as count:
        submission = write_submission(job, images, out, overwrite=overwrite, progress=count)
    empty = f", {submission.empty} of them empty" if submission.empty else ""
    print_line(f"submission: {out} ({submission.written} masks{empty})")
    exit_if_failed(list(submission.failures), total=submission.written + len(submission.failures))
