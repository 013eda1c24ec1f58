"""A folder of images to one CSV file of run-lengths, as competitions take it."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from maskwright.errors import InputError
from maskwright.images.files import expand_inputs
from maskwright.images.read import read_mask
from maskwright.images.run_length import encode_runs, write_run_lengths
from maskwright.inference.predict_folder import Job, OutputsExist, predict_files


class UnusableSubmission(InputError):
    """A file, a network or images of which no submission can be made."""

    text = "{file}: {found}; expected {expected}."


@dataclass(frozen=True)
class Submission:
    """What was written, and what could not be."""

    written: int
    empty: int
    failures: tuple[InputError, ...]


def write_submission(
    job: Job,
    images: str | Path,
    out: str | Path,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Submission:
    """Predict every image of a folder and write ``id,rle_mask``, a line each, in the order of the names.

    Masks lie in a hidden folder beside ``out`` until the file is whole: interrupted, the same call goes on. An image
    that cannot be used has no line and is in ``failures``.

    Args:
        job: What predicts: a network of one class.
        images: Folder, read with its subfolders; an id is a name without file type.
        out: A name in .csv.
        overwrite: Replace a file that is there, and masks of another network.
        progress: Called with the images done and all images.

    Raises:
        UnusableSubmission: ``out`` is there already or does not end in .csv, the network has several classes, or two
            images have one name.
        MissingInputs, EmptyFolder: There is nothing to predict.
        OutputsExist: The masks of an interrupted call are another network's.
    """
    out, bundle = Path(out), job.engine.bundle
    if out.suffix.lower() != ".csv" or out.is_dir() or (out.exists() and not overwrite):
        expected = "a new name in .csv, or --overwrite for one that is there"
        found = "is there already" if out.is_file() else "no name of a CSV file"
        raise UnusableSubmission(file=out, found=found, expected=expected)
    if bundle.activation != "sigmoid":
        found = f"a network of {len(bundle.labels)} classes"
        raise UnusableSubmission(file=out, found=found, expected="one class and a background, which run-lengths tell")
    names: dict[str, Path] = {}
    for file, _ in expand_inputs([images]):
        if (other := names.setdefault(file.stem, file)) != file:
            raise UnusableSubmission(file=file, found=f"has the name of {other}", expected="each id once")
        if set(file.stem) & set(',"\n\r'):
            raise UnusableSubmission(
                file=file, found="a name no id can be", expected="no comma, quote or line end in it"
            )
    parts = out.with_name(f".{out.name}.masks")
    predict = partial(predict_files, job, [images], parts, done=lambda done, total, _: progress(done, total))
    try:
        results = predict()
    except OutputsExist:
        if not overwrite:
            raise
        results = predict(overwrite=True)
    background = bundle.values(np.zeros(1, np.uint8))[0]
    masks = {
        result.source.stem: encode_runs(read_mask(result.written) != background)
        for result in results
        if result.written is not None
    }
    write_run_lengths(out, sorted(masks.items()))
    failures = tuple(result.error for result in results if result.error is not None)
    if not failures:  # else the next call need not predict the others again
        shutil.rmtree(parts)
    return Submission(len(masks), sum(not runs for runs in masks.values()), failures)
