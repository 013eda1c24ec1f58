"""The command ``predict``."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from maskwright.cli.console import (
    ExitCode,
    counter,
    exit_if_failed,
    interruptible,
    load_framework_for,
    print_error,
    print_line,
)
from maskwright.cli.options import NO_DEFAULT, Device, Overwrite, Run, UnusableOption

if TYPE_CHECKING:
    from maskwright.inference.large.dask_cluster import Cluster
    from maskwright.inference.large.predict_large import LargePredictionResult

_RASTER_SUFFIXES: Final = {".tif", ".tiff", ".zarr"}
"""Suffixes of ``--out`` for a single output file; a path with any other suffix denotes a folder."""


def predict(
    run: Run,
    inputs: Annotated[list[str], typer.Argument(help="Images, folders of images, or glob patterns.", **NO_DEFAULT)],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="Folder for the masks, or a .tif or .zarr file for one image, which may be larger than memory.",
            **NO_DEFAULT,
        ),
    ],
    output: Annotated[
        Literal["ids", "probabilities"],
        typer.Option("--output", help="Write mask values, or float32 probabilities with one page or band per class."),
    ] = "ids",
    overlay: Annotated[bool, typer.Option("--overlay", help="Also write images with class overlays.")] = False,
    margin: Annotated[
        int | None,
        typer.Option("--margin", help="Margin of windows on each side in pixels; measured by default.", **NO_DEFAULT),
    ] = None,
    polygons: Annotated[
        Path | None,
        typer.Option("--polygons", help="For a large image, also write outlines to this GeoJSON file.", **NO_DEFAULT),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", help="For a large image, number of processes on this machine.", **NO_DEFAULT),
    ] = None,
    dask: Annotated[
        str | None, typer.Option("--dask", help="For a large image, address of a Dask scheduler.", **NO_DEFAULT)
    ] = None,
    device: Device = None,
    overwrite: Overwrite = False,
) -> None:
    """Predict a mask for every image. After an interruption, run the same command again to continue.

    If `--out` is a .tif or .zarr file, one image is predicted in overlapping windows, by several processes or on a Dask
    cluster if requested.
    """
    from maskwright.segmenter import Segmenter

    if out.suffix.lower() in _RASTER_SUFFIXES:
        _check_large_options(out, inputs, overlay=overlay, workers=workers, dask=dask)
        load_framework_for(run)
        segmenter = Segmenter.load(run, device=device)
        with interruptible(), _cluster(workers, dask) as cluster, counter("Predicting windows") as count:
            result = segmenter.predict_large(
                inputs[0],
                out,
                output=output,
                margin=margin,
                polygons=polygons,
                overwrite=overwrite,
                cluster=cluster,
                progress=count,
                report=print_line,
            )
        _print_large(result, inputs[0], polygons)
        return
    large = {"--polygons": polygons, "--workers": workers, "--dask": dask}
    _check_folder_options(out, large)
    load_framework_for(run)
    segmenter = Segmenter.load(run, device=device)
    with interruptible(), counter("Predicting") as count:
        results = segmenter.predict_files(
            inputs,
            out,
            output=output,
            overlay=overlay,
            margin=margin,
            overwrite=overwrite,
            done=lambda n, total, _: count(n, total),
        )
    failures = [result.error for result in results if result.error is not None]
    earlier = sum(result.already_done for result in results)
    print_line(f"masks:   {out} ({len(results) - len(failures)}{f', {earlier} from before' if earlier else ''})")
    exit_if_failed(failures, total=len(results))


def _check_large_options(
    out: Path, inputs: Sequence[str], *, overlay: bool, workers: int | None, dask: str | None
) -> None:
    """Check the options for a single output file.

    Raises:
        UnusableOption: There are several images, or an option cannot be used with a single output file.
    """
    if len(inputs) != 1:
        problem = f"{out} takes one image, and {len(inputs)} were given"
        raise UnusableOption(option="--out", problem=problem, expected="one image, or a folder as --out")
    if overlay:
        raise UnusableOption(
            option="--overlay", problem=f"cannot be combined with --out {out}", expected="a folder as --out"
        )
    if workers is not None and dask is not None:
        raise UnusableOption(option="--workers", problem="cannot be combined with --dask", expected="one of them")


def _check_folder_options(out: Path, large: Mapping[str, object]) -> None:
    """Check that an output folder is not named like an image file and is not combined with options for large images.

    Raises:
        UnusableOption: The folder has the suffix of an image file, or an option for large images was given.
    """
    from maskwright.images.files import IMAGE_SUFFIXES

    if out.suffix.lower() in IMAGE_SUFFIXES and not out.is_dir():
        raise UnusableOption(
            option="--out", problem=f"{out} is the name of an image", expected="a folder, or a .tif, .tiff or .zarr"
        )
    for option, value in large.items():
        if value is not None:
            problem = f"cannot be combined with --out {out}"
            raise UnusableOption(option=option, problem=problem, expected="a .tif, .tiff or .zarr as --out")


@contextmanager
def _cluster(workers: int | None, dask: str | None) -> Iterator["Cluster | None"]:
    """Yield the requested Dask workers, or None if masks for all windows are predicted in this process."""
    if workers is None and dask is None:
        yield None
        return
    from maskwright.inference.large.dask_cluster import connect, start_workers

    opened = connect(dask, report=print_line) if dask is not None else start_workers(workers or 0, report=print_line)
    with opened as cluster:
        yield cluster


def _print_large(result: "LargePredictionResult", image: str, polygons: Path | None) -> None:
    """Print the path of the result and the parts that could not be processed; exit with code 1 if there are any such
    parts."""
    print_line(f"mask:    {result.written}{' (from before)' if result.already_done else ''}")
    if polygons is not None:
        print_line(f"outlines: {polygons}")
    for failure in result.failed_windows:
        rows, columns = (f"{first}-{last - 1}" for first, last in (failure.rows, failure.columns))
        print_error(f"{image}, rows {rows}, columns {columns}: {failure.found}")
    if result.failed_windows:
        count = len(result.failed_windows)
        print_error(f"{count} parts of {image} cannot be read and are nodata; all others were predicted")
        raise typer.Exit(ExitCode.FAILURE)
