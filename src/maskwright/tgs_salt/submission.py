"""Predict masks for a folder of images, and write them to one CSV file as run-lengths."""

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
from maskwright.inference.predict_folder import OutputsExist, PredictionJob, predict_files


class UnusableSubmission(InputError):
    """A file name, network or image from which no submission can be created."""

    text = "{file}: {found}; expected {expected}."


@dataclass(frozen=True)
class Submission:
    """Number of written masks, number of those that are empty, and errors for images that could not be processed."""

    written: int
    empty: int
    failures: tuple[InputError, ...]


def write_submission(
    job: PredictionJob,
    images: str | Path,
    out: str | Path,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Submission:
    """Predict masks for all images in a folder, and write them to a CSV file.

    The file has one row ``id,rle_mask`` per image, and the rows are sorted by id.

    Until the CSV file is complete, masks are stored in a hidden folder next to it, so that an interrupted call can be
    resumed. An image that cannot be processed has no row, and the error is added to ``failures`` of the result.

    Args:
        job: Prediction job with the engine of a network for a single class.
        images: Folder of images, searched with its subfolders. The id of an image is its file stem.
        out: CSV file to write.
        overwrite: Whether to replace an existing CSV file and stored masks that another network predicted.
        progress: Function called with the number of finished images and the total.

    Raises:
        UnusableSubmission: ``out`` exists or is not a .csv name, the network has several classes, or two images have
            the same file stem.
        MissingInputs, EmptyFolder: The folder is missing or contains no image.
        OutputsExist: The stored masks of an interrupted call were predicted by another network.
    """
    out, bundle = Path(out), job.engine.bundle
    if out.suffix.lower() != ".csv" or out.is_dir() or (out.exists() and not overwrite):
        expected = "a new .csv file, or --overwrite to replace an existing one"
        found = "the file exists" if out.is_file() else "not a CSV file name"
        raise UnusableSubmission(file=out, found=found, expected=expected)
    if bundle.activation != "sigmoid":
        found = f"a network of {len(bundle.labels)} classes"
        raise UnusableSubmission(file=out, found=found, expected="a network of one class and a background")
    names: dict[str, Path] = {}
    for file, _ in expand_inputs([images]):
        if (other := names.setdefault(file.stem, file)) != file:
            raise UnusableSubmission(file=file, found=f"the same id as {other}", expected="unique ids")
        if set(file.stem) & set(',"\n\r'):
            raise UnusableSubmission(
                file=file, found="a stem that cannot be an id", expected="a stem without commas, quotes or line breaks"
            )
    masks_folder = out.with_name(f".{out.name}.masks")
    predict = partial(predict_files, job, [images], masks_folder, done=lambda done, total, _: progress(done, total))
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
    if not failures:  # otherwise, the masks are kept, and the next call processes only the remaining images
        shutil.rmtree(masks_folder)
    return Submission(len(masks), sum(not runs for runs in masks.values()), failures)
