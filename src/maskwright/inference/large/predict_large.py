"""An image of any size to its result: laid out, predicted block by block, its seam measured, put together."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Final

from maskwright.errors import InputError, one_of, wrong_argument
from maskwright.images.windows import identity, open_source
from maskwright.images.write import atomic_path
from maskwright.inference.engines.engine import Engine
from maskwright.inference.large.block_grid import Layout, lay_out
from maskwright.inference.large.block_predictor import BlockPredictor, Predictor
from maskwright.inference.large.block_store import Parts
from maskwright.inference.large.checks import refuse_kind, refuse_names, refuse_outlines, refuse_size
from maskwright.inference.large.encoding import ENCODINGS, Output
from maskwright.inference.large.journal import (
    Claim,
    Finished,
    Journal,
    Key,
    digest_of,
)
from maskwright.inference.large.lock import held
from maskwright.inference.large.margin import MOST, measure_margin
from maskwright.inference.large.predict_blocks import fill
from maskwright.inference.large.result_file import check_packages, is_zarr, tell_losses, write_result
from maskwright.inference.large.seam import measure_seam
from maskwright.inference.large.window import Failure

_WIDEST_MARGIN: Final = 1024


class ImageChanged(InputError):
    """An image whose file was written while it was predicted."""

    text = "{file}: was changed while it was read, and what was made of it is removed; predict it again."


@dataclass(frozen=True)
class LargeJob:
    """What is made of which image."""

    engine: Engine
    engine_id: str
    """A name of the engine's weights: parts of another engine are never taken for this one's."""
    image: Path
    output: Output = "ids"
    margin: int | None = None
    """Pixels a window sees beyond those it keeps, rounded up to what the network takes; None: measured."""
    polygons: Path | None = None
    """A GeoJSON file for the outlines of the classes, made from ids in a TIFF."""

    def key(self) -> Key:
        """All that decides the result, the image's present state included."""
        return Key(
            engine=self.engine_id,
            bundle=hashlib.sha256(self.engine.bundle.model_dump_json().encode()).hexdigest(),
            image=_image(self.image),
            path=str(self.image.resolve()),
            output=self.output,
            margin=self.margin,
        )


@dataclass(frozen=True)
class LargeResult:
    """What became of a large image."""

    written: Path
    pixels: int
    """Of the image."""
    margin: int
    seam_share: float | None
    """Of the pixels within 128 of an inner border that were predicted again with a wider margin, the share
    that got another class; None where there are no inner borders."""
    failed_windows: tuple[Failure, ...]
    """Parts of the image that could not be read; the result holds nodata there."""
    seconds: float
    already_done: bool = False


def predict_large(
    job: LargeJob,
    out: str | Path,
    *,
    overwrite: bool = False,
    spread: Callable[[Key], BlockPredictor] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    say: Callable[[str], None] = lambda line: None,
) -> LargeResult:
    """Predict an image of any size by windows, into a tiled TIFF or a Zarr array, in as much memory as a window takes.

    The image is cut into blocks on one grid from its origin; each is predicted with a margin on every inner side, and
    lies in ``OUT.parts/`` when it is finished. Interrupted at any moment, the same call goes on where it was, and the
    result is byte for byte that of a call that was not. ``OUT.json`` says how it was made. An image of one block
    gets the classes of `predict_indices`.

    Args:
        job: What is made of which image.
        out: The result, .tif, .tiff or .zarr. Pixels that are nodata in the image, or cannot be read, are nodata in
            it: 255 for ids, or the next lower value that is no class's; NaN for probabilities.
        overwrite: Replace a result, or parts, of another job.
        spread: What predicts the blocks in this process's place, given all that decides the result: other machines,
            see `maskwright.inference.large.dask_cluster`. The margin and the seam are measured here.
        progress: Called with the number of finished blocks and of all.
        say: Called with lines for the user: the margin, time and memory, the seam.

    Raises:
        WrongArgument, UnknownChoice: The job, or the name of ``out``, is none that can be done.
        ImageFault, NotWindowed: The image cannot be opened.
        WrongPixels, WrongChannels: The image is not of the kind the network was trained on.
        MissingPackage: There is nothing to write such a result with.
        ImageTooLarge: The image takes more than a million blocks.
        OtherJob, UnknownResult, ForeignFolder: Something else is in the result's place.
        BeingPredicted: Another process is making this result.
        ImageChanged: The image was written meanwhile.
        OSError: The disk is full, among others; the parts stay.
    """
    out, started = Path(out), time.perf_counter()
    journal = Journal(out)
    _check(job, journal)
    encoding = one_of("output", job.output, ENCODINGS)(job.engine.bundle)
    with open_source(job.image) as source, held(out, say=say):
        predictor = Predictor(job.engine, source, encoding, job.image)
        refuse_kind(predictor)
        refuse_size(job.image, source)
        key = job.key()
        finished = None if overwrite else journal.finished(key)
        already_done = finished is not None
        if job.polygons:
            refuse_outlines(job.polygons, finished, overwrite=overwrite)
        if finished is None:
            claim = journal.claimed(key, overwrite=overwrite)
            if claim is None:
                tell_losses(out, source, say)
                if job.engine.bundle.fill_holes or job.engine.bundle.minimum_areas:
                    say("Holes and small parts stay as they are: by windows, no part is known as a whole.")
                claim = Claim(key=key, layout=_laid_out(job, predictor, say))
                journal.claim(claim)
            blocks_by = spread(key) if spread else predictor
            finished = _make(job, predictor, journal, claim, blocks_by, progress, say)
        if job.polygons and not (already_done and job.polygons.exists()):
            _outline(job, job.polygons, journal, finished)
        journal.discard()
        return LargeResult(
            written=out,
            pixels=source.height * source.width,
            margin=finished.layout.margin,
            seam_share=finished.seam_share,
            failed_windows=finished.failures,
            seconds=time.perf_counter() - started,
            already_done=already_done,
        )


def _make(
    job: LargeJob,
    predictor: Predictor,
    journal: Journal,
    claim: Claim,
    blocks_by: BlockPredictor,
    progress: Callable[[int, int], None],
    say: Callable[[str], None],
) -> Finished:
    """Predict what is missing, and put the result in its place."""
    layout, encoding = claim.layout, predictor.encoding
    parts = Parts(journal.parts, layout, encoding)
    failures = fill(blocks_by, parts, layout=layout, progress=progress, say=say)
    seam = measure_seam(predictor, parts, layout=layout)
    if seam.share is not None:
        say(f"Seam: {seam.share:.3%} of {seam.pixels:,} pixels along inner borders change with a wider margin.")
    if _image(job.image) != claim.key.image:
        journal.discard()
        raise ImageChanged(file=job.image)
    made = journal.place()
    write_result(made, parts, layout=layout, encoding=encoding, source=predictor.source, name=journal.out.stem)
    finished = Finished(
        key=claim.key,
        result=digest_of(made),
        layout=layout,
        nodata=None if isnan(encoding.nodata) else encoding.nodata,
        seam_share=seam.share,
        seam_pixels=seam.pixels,
        failures=failures,
    )
    journal.finish(made, finished)
    return finished


def _outline(job: LargeJob, polygons: Path, journal: Journal, finished: Finished) -> None:
    """Make polygons of the result's classes; recorded first, so that no others are ever taken for these."""
    from maskwright.images.windows.polygons import write_polygons

    with atomic_path(polygons) as temporary:
        # The background is what lies between the outlines.
        write_polygons(journal.out, temporary, [label for label in job.engine.bundle.labels if not label.background])
        journal.record(finished.model_copy(update={"outlines": digest_of(temporary)}))


def _check(job: LargeJob, journal: Journal) -> None:
    """Refuse what cannot be made, before anything is."""
    out = journal.out
    in_tiff = not is_zarr(out)
    if job.margin is not None and not 0 <= job.margin <= _WIDEST_MARGIN:
        raise wrong_argument("margin", job.margin, expected=f"0 to {_WIDEST_MARGIN} pixels")
    if job.polygons and not (in_tiff and job.output == "ids"):
        raise wrong_argument("polygons", str(job.polygons), expected="ids in a TIFF to make them from")
    refuse_names(journal, image=job.image, polygons=job.polygons)
    check_packages(out, job.polygons)


def _laid_out(job: LargeJob, predictor: Predictor, say: Callable[[str], None]) -> Layout:
    source, multiple = predictor.source, job.engine.bundle.multiple
    margin = measure_margin(predictor) if job.margin is None else -(-job.margin // multiple) * multiple
    layout = lay_out(source.height, source.width, multiple=multiple, margin=margin)
    if len(layout.blocks()) > 1:
        how = "as asked for" if job.margin is not None else "measured on this image"
        further = "; the widest, though this network may see further" if job.margin is None and margin >= MOST else ""
        say(f"Margin: {margin} pixels, {how}{further}.")
    return layout


def _image(file: Path) -> str:
    """A name of the image and its present state."""
    try:
        return f"{file.name} {identity(file)}"
    except OSError as error:
        return f"{file.name} {error.strerror}"
