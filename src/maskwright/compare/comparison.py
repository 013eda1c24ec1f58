"""Two or more runs on the images they share: scores, intervals, and what each differs in from the first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskwright.compare.bootstrap import bootstrap, interval, overlaps
from maskwright.compare.errors import NothingShared, OtherClasses, OtherMasks, TooFewRuns
from maskwright.compare.runs import ScoredRun, read_run

_FEW = 20  # images below which percentile intervals are known to cover too little


@dataclass(frozen=True)
class Estimate:
    """A score or a difference of scores; None where there is none, no interval where one image is all there is."""

    value: float | None
    interval: tuple[float, float] | None

    @property
    def excludes_zero(self) -> bool:
        """Whether all of the interval lies on one side of zero."""
        return self.interval is not None and (self.interval[0] > 0 or self.interval[1] < 0)


@dataclass(frozen=True)
class Line:
    """What one run scored; ``difference`` is to the first run, and None in its own line."""

    run: str
    score: Estimate
    difference: Estimate | None


@dataclass(frozen=True)
class Measure:
    """The mean IoU, or the IoU of one class, of every run."""

    name: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Comparison:
    """Runs and their scores on the validation images that all of them share."""

    runs: tuple[ScoredRun, ...]
    names: tuple[str, ...]
    """What to call each run."""
    shared: tuple[str, ...]
    """The images, in the order of the first run."""
    measures: tuple[Measure, ...]
    """The mean IoU, then each class."""

    def milliseconds(self, run: ScoredRun) -> float | None:
        """The median time to predict one of the shared images, None where an older version did not take it."""
        place = dict(zip(run.images, run.seconds, strict=True))
        taken = [seconds for name in self.shared if (seconds := place[name]) is not None]
        return 1000 * float(np.median(taken)) if taken else None

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know before the numbers, a sentence each."""
        return tuple(_notes(self))


def compare_runs(folders: Sequence[str | Path]) -> Comparison:
    """Read runs and score them on the validation images they share, each against the first.

    Args:
        folders: Two or more finished runs of the same classes.

    Raises:
        TooFewRuns: There are fewer than two, or one is given twice.
        OtherClasses, NothingShared, OtherMasks: The runs were not scored on the same.
        NotARun, UnfinishedRun, DamagedRun, NoCounts: A run cannot be used; as `read_run` raises.
    """
    paths = [Path(folder) for folder in folders]
    if len({path.resolve() for path in paths}) < max(len(paths), 2):
        raise TooFewRuns(found=", ".join(map(str, paths)) or "nothing")
    runs = tuple(read_run(path) for path in paths)
    for run in runs[1:]:
        if (run.classes, run.background) != (runs[0].classes, runs[0].background):
            first, found, expected = runs[0].folder, _named(run), _named(runs[0])
            raise OtherClasses(folder=run.folder, first=first, found=found, expected=expected)
    common = set.intersection(*(set(run.images) for run in runs))
    shared = tuple(name for name in runs[0].images if name in common)
    if not shared:
        raise NothingShared(folders=", ".join(map(str, paths)))
    pixels = np.stack([_pixels_of(run, shared) for run in runs])
    _refuse_other_masks(runs, shared, pixels)
    names = _names(paths)
    return Comparison(runs, names, shared, tuple(_measures(runs[0], names, pixels)))


def _pixels_of(run: ScoredRun, images: Sequence[str]) -> NDArray[np.int64]:
    place = {name: number for number, name in enumerate(run.images)}
    return run.pixels[[place[name] for name in images]]


def _refuse_other_masks(runs: Sequence[ScoredRun], shared: Sequence[str], pixels: NDArray[np.int64]) -> None:
    """One name does not make one image: the true pixels of each class must be the same too."""
    true = pixels[:, :, 1]
    differing = (true != true[0]).any(axis=2)  # (runs, images)
    for run, images in zip(runs, differing, strict=True):
        if images.any():
            raise OtherMasks(
                folder=run.folder,
                first=runs[0].folder,
                name=shared[int(images.argmax())],
                differing=int(images.sum()),
                shared=len(shared),
            )


def _measures(first: ScoredRun, names: Sequence[str], pixels: NDArray[np.int64]) -> Iterator[Measure]:
    scores = overlaps(pixels.sum(axis=1), background=first.background)  # (runs, 1 + classes)
    drawn = bootstrap(pixels, background=first.background)  # (draws, runs, 1 + classes)
    for column, name in enumerate(("mean IoU", *first.classes)):
        values, draws = scores[:, column], drawn[:, :, column]
        yield Measure(
            name,
            tuple(
                Line(
                    run=run,
                    score=_estimate(values[row], draws[:, row]),
                    difference=_estimate(values[row] - values[0], draws[:, row] - draws[:, 0]) if row else None,
                )
                for row, run in enumerate(names)
            ),
        )


def _estimate(value: float, drawn: NDArray[np.float64]) -> Estimate:
    if not np.isfinite(value):
        return Estimate(None, None)
    return Estimate(float(value), interval(drawn))


def _names(folders: Sequence[Path]) -> tuple[str, ...]:
    """Folder names where they tell the runs apart, else paths."""
    short = tuple(folder.resolve().name for folder in folders)
    return short if len(set(short)) == len(short) else tuple(map(str, folders))


def _named(run: ScoredRun) -> str:
    return ", ".join(run.classes) + (" (background first)" if run.background else "")


def _notes(comparison: Comparison) -> Iterator[str]:
    runs, count = list(zip(comparison.names, comparison.runs, strict=True)), len(comparison.shared)
    more = [f"{len(run.images) - count} of {name}" for name, run in runs if len(run.images) > count]
    left_out = f"; left out, as not all runs have them: {', '.join(more)}" if more else ""
    yield f"Scores are of the {count} validation image{'s' * (count > 1)} that all runs share{left_out}."
    if count == 1:
        yield "There are no intervals: one image says nothing of others."
    elif count < _FEW:
        yield f"Intervals from {count} images are too narrow; take them as a lower bound of the doubt."
    if interrupted := [name for name, run in runs if run.facts.stopped_by == "interrupt"]:
        yield f"Interrupted before the end: {', '.join(interrupted)}."
    machines = {(run.facts.machine, run.facts.precision, run.facts.backend) for _, run in runs}
    if len(machines) > 1:
        yield "Times were taken on different machines, backends or precisions, and do not compare."
