"""One image that may be larger than memory, from the command line: what goes together, workers, what became of it."""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from maskwright.cli.console import counting, say
from maskwright.errors import InputError

if TYPE_CHECKING:
    from maskwright.inference.predict_folder import Output
    from maskwright.segmenter import Segmenter

RESULTS: Final = {".tif", ".tiff", ".zarr"}
"""Suffixes of one result; any other name is a folder's."""


class UnusableOption(InputError):
    """An option that does not go with the others."""

    text = "{option} does not go with {found}; expected {expected}."


def refuse_beside(out: Path, inputs: Sequence[str], *, overlay: bool, workers: int | None, dask: str | None) -> None:
    """Refuse what does not go with one file as the result."""
    if len(inputs) != 1:
        raise UnusableOption(option="--out", found=f"{out} and {len(inputs)} images", expected="one image, or a folder")
    if overlay:
        raise UnusableOption(option="--overlay", found=f"--out {out}", expected="a folder for the results")
    if workers is not None and dask is not None:
        raise UnusableOption(option="--workers", found="--dask as well", expected="one of them")


def refuse_file(out: Path) -> None:
    """Refuse the name of a picture where a folder is meant."""
    from maskwright.images.files import IMAGE_SUFFIXES

    if out.suffix.lower() in IMAGE_SUFFIXES and not out.is_dir():
        raise UnusableOption(option="--out", found=f"{out}", expected="a folder, or a .tif, .tiff or .zarr")


def predict_large(
    segmenter: "Segmenter",
    image: Path,
    out: Path,
    output: "Output",
    margin: int | None,
    polygons: Path | None,
    workers: int | None,
    dask: str | None,
    overwrite: bool,
) -> None:
    """Predict one image by windows, here or on workers, and say what became of it."""
    with ExitStack() as stack:
        cluster = None
        if workers is not None or dask is not None:
            from maskwright.inference.large.dask_cluster import connected, started

            doors = connected(dask, say=say) if dask is not None else started(workers or 0, say=say)
            cluster = stack.enter_context(doors)
        count = stack.enter_context(counting("Windows"))
        result = segmenter.predict_large(
            image,
            out,
            output=output,
            margin=margin,
            polygons=polygons,
            overwrite=overwrite,
            cluster=cluster,
            progress=count,
            say=say,
        )
    say(f"mask:    {result.written}{' (from before)' if result.already_done else ''}")
    if polygons is not None:
        say(f"outlines: {polygons}")
    for failure in result.failed_windows:
        rows, columns = ("-".join(map(str, (first, last - 1))) for first, last in (failure.rows, failure.columns))
        sys.stderr.write(f"failed: {image}, rows {rows}, columns {columns}: {failure.found}\n")
    if result.failed_windows:
        count_failed = len(result.failed_windows)
        sys.stderr.write(f"error: {count_failed} parts of {image} cannot be read, and are nodata; the rest is done\n")
        raise typer.Exit(1)
