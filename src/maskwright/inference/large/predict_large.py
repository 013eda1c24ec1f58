"""Predict the mask of an image of any size: process it in blocks, measure the seam and assemble the result."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import isnan
from pathlib import Path

from maskwright.errors import one_of, wrong_argument
from maskwright.images.windows.source import Source, identity, open_source
from maskwright.images.write import atomic_path
from maskwright.inference.bundle import OutputKind
from maskwright.inference.engines.engine import Engine
from maskwright.inference.errors import ImageChanged
from maskwright.inference.large.block_predictor import BlockPredictor, LocalBlockPredictor
from maskwright.inference.large.block_store import BlockStore
from maskwright.inference.large.checks import check_kind, check_names, check_outlines, check_size
from maskwright.inference.large.encoding import ENCODINGS
from maskwright.inference.large.journal import CompletionRecord, JobClaim, Journal, ResultKey, content_digest
from maskwright.inference.large.predict_blocks import predict_missing_blocks
from maskwright.inference.large.result_file import (
    check_packages,
    report_lost_georeference,
    write_result,
    writes_zarr,
)
from maskwright.inference.large.result_lock import result_lock
from maskwright.inference.large.seam import measure_seam
from maskwright.inference.tiling.layout import Layout
from maskwright.inference.tiling.margin import check_margin, choose_layout, max_margin
from maskwright.inference.tiling.window import WindowFailure
from maskwright.inference.tiling.window_predictor import WindowPredictor


@dataclass(frozen=True)
class LargePredictionJob:
    """An image and all settings that determine its result."""

    engine: Engine
    engine_id: str
    """Digest of the engine weights; blocks of another engine are never reused."""
    image: Path
    output: OutputKind = "ids"
    margin: int | None = None
    """Width in pixels added to a window on each side, rounded up to the multiple of the network; measured if None."""
    polygons: Path | None = None
    """Path of a GeoJSON file for the class outlines; the result must then be a TIFF of ids."""

    def key(self) -> ResultKey:
        """Return the key of everything that determines the result, including the state of the image file."""
        return ResultKey(
            engine=self.engine_id,
            bundle=hashlib.sha256(self.engine.bundle.model_dump_json().encode()).hexdigest(),
            image=_image_state(self.image),
            path=str(self.image.resolve()),
            output=self.output,
            margin=self.margin,
        )


@dataclass(frozen=True)
class LargePredictionResult:
    """Summary of a finished large prediction."""

    written: Path
    pixels: int
    """Number of pixels of the image."""
    margin: int
    seam_fraction: float | None
    """Fraction of the compared pixels whose class changes with a wider margin; None for a single block."""
    failed_windows: tuple[WindowFailure, ...]
    """Parts of the image that could not be read, which are nodata in the result."""
    seconds: float
    already_done: bool = False


def predict_large(
    job: LargePredictionJob,
    out: str | Path,
    *,
    overwrite: bool = False,
    distribute: Callable[[ResultKey], BlockPredictor] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    report: Callable[[str], None] = lambda line: None,
) -> LargePredictionResult:
    """Predict the mask of an image of any size in overlapping windows and write it as a tiled TIFF or a Zarr array.

    Memory is bounded by the size of a window. Finished blocks are stored in ``OUT.parts/``; after an interruption, the
    same call resumes the job, and its result is identical byte for byte to that of an uninterrupted call. ``OUT.json``
    records how the result was made. Classes are those of `maskwright.inference.predict_image.predict_indices`, which
    uses the same windows. Holes are filled and small components removed across blocks, after all blocks are finished;
    for the required memory, see `maskwright.images.windows.cleaned_tiles.cleaned_tiles`. Nodata pixels count as
    outside the image.

    Args:
        job: Image and settings of the prediction.
        out: Path of the result, which ends in .tif, .tiff or .zarr. Pixels that are nodata in the image or cannot be
            read are nodata in the result: NaN for probabilities and, for ids, the highest value up to 255 without a
            class.
        overwrite: Whether to replace a result or blocks of another job.
        distribute: Function that receives the key of the result and returns a predictor that computes the blocks on
            other machines; see `maskwright.inference.large.dask_cluster`. The margin and the seam are measured in this
            process.
        progress: Function called with the number of finished blocks and the total.
        report: Function called with each message (str) for the user, about the margin, the time and memory, and the
            seam.

    Raises:
        WrongArgument, UnknownChoice: The job or the name of ``out`` is invalid.
        ImageFault: The image cannot be opened.
        WrongPixels, WrongChannels: The image has a data type or channels that the network does not accept.
        WholeImagesOnly: The network requires the whole image at once.
        MissingPackage: A package that is required to write the result is not installed.
        ImageTooLarge: The image has more than a million blocks.
        OtherJob, UnknownResult, ForeignFolder: The path of the result is already in use.
        BeingPredicted: Another process is writing this result.
        ImageChanged: The image file was modified during prediction.
        OSError: A file cannot be written, for example because the disk is full; finished blocks are kept.
    """
    out, started = Path(out), time.perf_counter()
    journal = Journal(out)
    _check(job, journal)
    bundle = job.engine.bundle
    encoding = one_of("output", job.output, ENCODINGS)(bundle)
    with open_source(job.image) as source, result_lock(out, report=report):
        check_kind(bundle, source, job.image)
        check_size(job.image, source, bundle.tile)
        predictor = LocalBlockPredictor(WindowPredictor(job.engine, source, job.image), encoding)
        key = job.key()
        record = None if overwrite else journal.completed(key)
        already_done = record is not None
        if job.polygons:
            check_outlines(job.polygons, record, overwrite=overwrite)
        if record is None:
            claim = journal.resume(key, overwrite=overwrite)
            if claim is None:
                report_lost_georeference(out, source, report)
                claim = JobClaim(key=key, layout=_choose_layout(job, predictor.windows, report))
                journal.claim(claim)
            blocks_by = distribute(key) if distribute else predictor
            record = _predict(job, predictor, source, journal, claim, blocks_by, progress, report)
        if job.polygons and not (already_done and job.polygons.exists()):
            _write_outlines(job, job.polygons, journal, record)
        journal.discard()
        return LargePredictionResult(
            written=out,
            pixels=source.height * source.width,
            margin=record.layout.margin,
            seam_fraction=record.seam_fraction,
            failed_windows=record.failures,
            seconds=time.perf_counter() - started,
            already_done=already_done,
        )


def _predict(
    job: LargePredictionJob,
    predictor: LocalBlockPredictor,
    source: Source,
    journal: Journal,
    claim: JobClaim,
    blocks_by: BlockPredictor,
    progress: Callable[[int, int], None],
    report: Callable[[str], None],
) -> CompletionRecord:
    """Compute the missing blocks and write the result to its path."""
    layout, encoding = claim.layout, predictor.encoding
    store = BlockStore(journal.blocks, layout, encoding)
    failures = predict_missing_blocks(blocks_by, store, layout=layout, progress=progress, report=report)
    seam = measure_seam(predictor, store, layout=layout)
    if seam.changed_fraction is not None:
        changed = f"{seam.changed_fraction:.3%} of {seam.pixels:,} pixels"
        report(f"Seam: {changed} along inner borders change with a wider margin.")
    if _image_state(job.image) != claim.key.image:
        journal.discard()
        raise ImageChanged(file=job.image)
    if encoding.cleans and len(layout.blocks()) > 1:
        report("Clean-up: filling holes and removing small components across windows, as specified in the bundle.")
    written = journal.unfinished_path()
    write_result(written, store, layout=layout, encoding=encoding, source=source, name=journal.out.stem)
    record = CompletionRecord(
        key=claim.key,
        result=content_digest(written),
        layout=layout,
        nodata=None if isnan(encoding.nodata) else encoding.nodata,
        seam_fraction=seam.changed_fraction,
        seam_pixels=seam.pixels,
        failures=failures,
    )
    journal.finish(written, record)
    return record


def _write_outlines(job: LargePredictionJob, polygons: Path, journal: Journal, record: CompletionRecord) -> None:
    """Write the class outlines of the result, recording their digest before the file is moved to its path."""
    from maskwright.images.windows.polygons import write_polygons

    with atomic_path(polygons) as temporary:
        # The background has no outlines: it is the area between the outlines of the other classes.
        write_polygons(journal.out, temporary, [label for label in job.engine.bundle.labels if not label.background])
        journal.record(record.model_copy(update={"outlines": content_digest(temporary)}))


def _check(job: LargePredictionJob, journal: Journal) -> None:
    """Check the job's settings before anything is written."""
    out = journal.out
    in_tiff = not writes_zarr(out)
    check_margin(job.margin)
    if job.polygons and not (in_tiff and job.output == "ids"):
        raise wrong_argument("polygons", str(job.polygons), expected="ids in a TIFF to make them from")
    check_names(journal, image=job.image, polygons=job.polygons)
    check_packages(out, job.polygons)


def _choose_layout(job: LargePredictionJob, windows: WindowPredictor, report: Callable[[str], None]) -> Layout:
    layout, bundle = choose_layout(windows, job.margin), job.engine.bundle
    if len(layout.blocks()) > 1:
        source = "as given" if job.margin is not None else "measured on this image"
        widest = job.margin is None and layout.margin >= max_margin(bundle)
        remark = " (the largest possible; the receptive field of the network may be larger)" if widest else ""
        report(f"Margin: {layout.margin} pixels, {source}{remark}.")
    return layout


def _image_state(file: Path) -> str:
    """Return the name of the image and the current state of its file."""
    try:
        return f"{file.name} {identity(file)}"
    except OSError as error:
        return f"{file.name} {error.strerror}"
