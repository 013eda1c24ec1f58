"""Write the report of a run, a self-contained HTML page with scores, curves, and the best and worst images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskwright.images.write import write_text
from maskwright.metrics.monitor import SCORE_NAMES
from maskwright.report import formatting
from maskwright.report.panels import ImagePanel, file_source, image_panels, worst_and_best
from maskwright.report.plots import loss_curve, lr_curve, score_curve
from maskwright.report.templates import template
from maskwright.training.run_contents import RunContents, read_run_contents
from maskwright.training.run_records import ImageScore


@dataclass(frozen=True)
class ConfusionCell:
    """Number of pixels of one ground-truth class (the row) that were predicted as a given class (the column)."""

    pixels: int
    fraction: float | None
    """Fraction of the pixels of the row that are in this cell, 0 to 1; None if the row has no pixels."""


def write_report(folder: str | Path) -> Path:
    """Write ``report.html`` to the folder of a run and return the path of the report.

    The page is a single file with embedded images and without scripts or external resources. If a file of the run is
    missing, the corresponding section is replaced by a sentence. The validation images and masks are read again from
    the paths in ``split.csv``. Keras is not imported.

    Args:
        folder: Folder of the run.

    Raises:
        NotARun: The folder is missing or contains no recipe.
        WrongRecipe, UnreadableBundle, DamagedRunFile: A file of the run is damaged.
        ImageFault: The contact sheet cannot be read.
    """
    contents = read_run_contents(folder)
    write_text(contents.run.report, render(contents))
    return contents.run.report


def render(contents: RunContents) -> str:
    """Return the report of a run as HTML."""
    run, scores = contents.run, contents.scores
    worst, best = _panels(contents)
    facts = contents.facts.model_dump(exclude_defaults=True) if contents.facts else {}
    return template("template.html.j2").render(
        title=run.folder.resolve().name,
        scores=scores.scores if scores else None,
        mean_precision=scores.mean_precision if scores else None,
        images=_worst_first(scores.images) if scores else [],
        tuning=contents.tuning,
        score_names=SCORE_NAMES,
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
        facts=contents.facts,
        fact_rows=list(formatting.rows(facts)),
    )


def _curves(contents: RunContents) -> list[tuple[str, str]]:
    """Return the caption and the image source (a data URI) of each curve that has at least one point."""
    history = contents.history or ()
    monitor = contents.recipe.training.monitor
    curves = []
    if any(epoch.loss is not None for epoch in history):
        curves.append(("Mean training loss of each epoch", loss_curve(history)))
    if any(epoch.val_mean_iou is not None for epoch in history):
        saved = "; the network with the best score is saved"
        for name in dict.fromkeys(("mean_iou", monitor)):
            is_monitored = name == monitor
            caption = f"Validation {SCORE_NAMES[name]}{saved * is_monitored}"
            curves.append((caption, score_curve(history, name, mark_best=is_monitored)))
    if history:
        curves.append(("Learning rate at the end of each epoch", lr_curve(history)))
    return curves


def _confusion(contents: RunContents) -> list[tuple[str, list[ConfusionCell]]]:
    """Return the name of each ground-truth class and the cells of its row in the confusion matrix."""
    if contents.scores is None:
        return []
    scores = contents.scores.scores
    return [
        (score.name, [ConfusionCell(pixels, pixels / total if (total := sum(row)) else None) for pixels in row])
        for score, row in zip(scores.classes, scores.confusion, strict=True)
    ]


def _worst_first(images: Sequence[ImageScore]) -> list[ImageScore]:
    """Sort images by increasing mean IoU, with images without a score last."""
    return sorted(images, key=lambda image: (image.mean_iou is None, image.mean_iou or 0.0, image.name))


def _panels(contents: RunContents) -> tuple[list[ImagePanel], list[ImagePanel]]:
    if contents.scores is None or contents.bundle is None or contents.pairs is None:
        return [], []
    options: dict[str, Any] = {
        "run": contents.run,
        "recipe": contents.recipe,
        "bundle": contents.bundle,
        "pairs": contents.pairs["validation"],
    }
    worst, best = worst_and_best(contents.scores.images)
    return image_panels(worst, **options), image_panels(best, **options)
