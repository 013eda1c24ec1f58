"""Compare the scores of two or more runs on their shared validation images, with confidence intervals."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskwright.compare.bootstrap import bootstrap, interval, mean_and_class_ious
from maskwright.compare.errors import ClassesDiffer, MasksDiffer, NoSharedImages, TooFewRuns
from maskwright.compare.runs import ScoredRun, read_run

MIN_IMAGES: Final = 20
"""Number of images below which percentile intervals are too narrow to be reliable."""


@dataclass(frozen=True)
class Estimate:
    """A score or a difference between scores, with its confidence interval; a missing score or interval is None."""

    value: float | None
    interval: tuple[float, float] | None

    @property
    def excludes_zero(self) -> bool:
        """Whether the confidence interval exists and does not contain zero."""
        return self.interval is not None and (self.interval[0] > 0 or self.interval[1] < 0)


@dataclass(frozen=True)
class RunEstimate:
    """Score of one run, and its difference from the score of the first run (None for the first run)."""

    run: str
    score: Estimate
    difference: Estimate | None


@dataclass(frozen=True)
class Measure:
    """Mean IoU, or IoU of one class, of every run."""

    name: str
    runs: tuple[RunEstimate, ...]


@dataclass(frozen=True)
class Comparison:
    """Runs and their scores on the validation images that all runs have in common."""

    runs: tuple[ScoredRun, ...]
    names: tuple[str, ...]
    """Display name of each run."""
    shared: tuple[str, ...]
    """Names of the validation images that all runs have in common, in the order of the first run."""
    measures: tuple[Measure, ...]
    """Mean IoU, followed by the IoU of each class."""

    def milliseconds(self, run: ScoredRun) -> float:
        """Return the median prediction time in ``run`` for one of the shared images, in milliseconds."""
        seconds = dict(zip(run.images, run.seconds, strict=True))
        return 1000 * float(np.median([seconds[name] for name in self.shared]))

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on the validity of the scores and times, one or two sentences each."""
        return tuple(_notes(self))


def compare_runs(folders: Sequence[str | Path]) -> Comparison:
    """Read runs, and compare the scores of each run with those of the first run on the shared validation images.

    Args:
        folders: Folders of two or more finished runs with the same classes.

    Raises:
        TooFewRuns: Fewer than two runs are given, or a run is given twice.
        ClassesDiffer, NoSharedImages, MasksDiffer: The runs have different classes, no shared validation images, or
            different ground-truth masks of the same image.
        NotARun, UnfinishedRun, DamagedRunFile, WrongRecipe, UnreadableBundle: A folder is not a
            finished run or contains a damaged file; see `read_run`.
    """
    paths = [Path(folder) for folder in folders]
    if len({path.resolve() for path in paths}) < max(len(paths), 2):
        raise TooFewRuns(found=", ".join(map(str, paths)) or "no run")
    runs = tuple(read_run(path) for path in paths)
    for run in runs[1:]:
        if (run.classes, run.background) != (runs[0].classes, runs[0].background):
            raise ClassesDiffer(
                folder=run.folder, first=runs[0].folder, found=_class_names(run), expected=_class_names(runs[0])
            )
    common = set.intersection(*(set(run.images) for run in runs))
    shared = tuple(name for name in runs[0].images if name in common)
    if not shared:
        raise NoSharedImages(folders=", ".join(map(str, paths)))
    pixels = np.stack([_pixels_of(run, shared) for run in runs])
    _check_masks(runs, shared, pixels)
    names = _display_names(paths)
    return Comparison(runs, names, shared, tuple(_measures(runs[0], names, pixels)))


def _pixels_of(run: ScoredRun, images: Sequence[str]) -> NDArray[np.int64]:
    index = {name: number for number, name in enumerate(run.images)}
    return run.pixels[[index[name] for name in images]]


def _check_masks(runs: Sequence[ScoredRun], shared: Sequence[str], pixels: NDArray[np.int64]) -> None:
    """Check that the ground-truth mask of each image has the same number of pixels of each class in all runs."""
    truth = pixels[:, :, 1]
    differing = (truth != truth[0]).any(axis=2)  # (runs, images)
    for run, images in zip(runs, differing, strict=True):
        if images.any():
            raise MasksDiffer(
                folder=run.folder,
                first=runs[0].folder,
                name=shared[int(images.argmax())],
                differing=int(images.sum()),
                shared=len(shared),
            )


def _measures(first: ScoredRun, names: Sequence[str], pixels: NDArray[np.int64]) -> Iterator[Measure]:
    scores = mean_and_class_ious(pixels.sum(axis=1), background=first.background)  # (runs, 1 + classes)
    resampled = bootstrap(pixels, background=first.background)  # (resamples, runs, 1 + classes)
    for column, name in enumerate(("mean IoU", *first.classes)):
        values, samples = scores[:, column], resampled[:, :, column]
        yield Measure(
            name,
            tuple(
                RunEstimate(
                    run=run,
                    score=_estimate(values[row], samples[:, row]),
                    difference=_estimate(values[row] - values[0], samples[:, row] - samples[:, 0]) if row else None,
                )
                for row, run in enumerate(names)
            ),
        )


def _estimate(value: float, resampled: NDArray[np.float64]) -> Estimate:
    if not np.isfinite(value):
        return Estimate(None, None)
    return Estimate(float(value), interval(resampled))


def _display_names(folders: Sequence[Path]) -> tuple[str, ...]:
    """Return the names of the folders if they are distinct, otherwise the paths of the folders."""
    short = tuple(folder.resolve().name for folder in folders)
    return short if len(set(short)) == len(short) else tuple(map(str, folders))


def _class_names(run: ScoredRun) -> str:
    return ", ".join(run.classes) + (" (background first)" if run.background else "")


def _notes(comparison: Comparison) -> Iterator[str]:
    runs, count = list(zip(comparison.names, comparison.runs, strict=True)), len(comparison.shared)
    left_out = [f"{len(run.images) - count} of {name}" for name, run in runs if len(run.images) > count]
    omitted = f" Left out, because not all runs have them: {', '.join(left_out)}." if left_out else ""
    yield f"All runs are scored on the {count} validation image{'s' * (count > 1)} they share.{omitted}"
    if count == 1:
        yield "There are no intervals: they cannot be estimated from one image."
    elif count < MIN_IMAGES:
        yield f"Intervals from only {count} images are too narrow; the true uncertainty is larger."
    if interrupted := [name for name, run in runs if run.facts.stopped_by == "interrupt"]:
        yield f"Interrupted before the end of the schedule: {', '.join(interrupted)}."
    machines = {(run.facts.machine, run.facts.precision, run.facts.backend) for _, run in runs}
    if len(machines) > 1:
        yield "Times are not comparable: the runs used different machines, backends or precisions."
