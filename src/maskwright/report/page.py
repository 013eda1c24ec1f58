"""A run's folder to one self-contained page that says how good the network is and where it goes wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskwright.images.write import write_text
from maskwright.report import formatting
from maskwright.report.panels import Shown, file_source, panels, worst_and_best
from maskwright.report.plots import loss_curve, precision_curve, rate_curve, validation_curve
from maskwright.report.run_contents import Contents, ImageScore, read_contents
from maskwright.report.templates import template


@dataclass(frozen=True)
class Cell:
    """Pixels of one class of the truth (its row) that were given one class (its column)."""

    pixels: int
    share: float | None
    """Of the row; None in a row without pixels."""


def write_report(folder: str | Path) -> Path:
    """Write ``report.html`` into a run's folder, from what lies there, and return its path.

    The page is one file: pictures are embedded, nothing is loaded from elsewhere and no script runs. A section whose
    file is missing is replaced by a sentence. The validation images and masks are read again where ``split.csv`` says
    they are; Keras is not loaded.

    Raises:
        NotARun: The folder is missing or holds no recipe.
        WrongRecipe, UnreadableBundle, DamagedRunFile: A file of the run is there and cannot be used.
        ImageFault: The contact sheet cannot be read.
    """
    contents = read_contents(folder)
    write_text(contents.run.report, render(contents))
    return contents.run.report


def render(contents: Contents) -> str:
    """The page as HTML."""
    run, stored = contents.run, contents.stored
    worst, best = _panels(contents)
    return template("template.html.j2").render(
        title=run.folder.resolve().name,
        scores=stored.scores if stored else None,
        mean_precision=stored.mean_precision if stored else None,
        images=_by_score(stored.images) if stored else [],
        labels=contents.bundle.labels if contents.bundle else (),
        bundle=contents.bundle,
        data=contents.recipe.data,
        pairs=contents.pairs,
        curves=_curves(contents),
        confusion=_confusion(contents),
        worst=worst,
        best=best,
        contact_sheet=file_source(run.contact_sheet) if run.contact_sheet.is_file() else None,
        recipe=contents.recipe_text,
        facts=contents.facts or {},
        fact_rows=list(formatting.rows(contents.facts or {})),
    )


def _curves(contents: Contents) -> list[tuple[str, str]]:
    """What each curve shows, and its source; only those of which at least one point was measured."""
    history = contents.history or ()
    drawn = []
    if any(epoch.loss is not None for epoch in history):
        drawn.append(("Training loss, the mean of each epoch", loss_curve(history)))
    if any(epoch.mean_iou is not None for epoch in history):
        kept = "; the best network is the one kept"
        by_iou = contents.recipe.training.select == "mean_iou"
        drawn.append((f"Validation mean IoU{kept * by_iou}", validation_curve(history, best=by_iou)))
        if not by_iou:
            drawn.append((f"Validation mean precision over IoU 0.5 to 0.95{kept}", precision_curve(history)))
    if any(epoch.learning_rate is not None for epoch in history):
        drawn.append(("Learning rate", rate_curve(history)))
    return drawn


def _confusion(contents: Contents) -> list[tuple[str, list[Cell]]]:
    """A row of cells for each class of the truth."""
    if contents.stored is None:
        return []
    scores = contents.stored.scores
    return [
        (score.name, [Cell(pixels, pixels / total if (total := sum(row)) else None) for pixels in row])
        for score, row in zip(scores.classes, scores.confusion, strict=True)
    ]


def _by_score(images: Sequence[ImageScore]) -> list[ImageScore]:
    """The worst first, those without a score last."""
    return sorted(images, key=lambda image: (image.mean_iou is None, image.mean_iou or 0.0, image.name))


def _panels(contents: Contents) -> tuple[list[Shown], list[Shown]]:
    if contents.stored is None or contents.bundle is None or contents.pairs is None:
        return [], []
    known: dict[str, Any] = {"run": contents.run, "recipe": contents.recipe, "bundle": contents.bundle}
    worst, best = worst_and_best(contents.stored.images)
    pairs = contents.pairs["validation"]
    return panels(worst, pairs=pairs, **known), panels(best, pairs=pairs, **known)
