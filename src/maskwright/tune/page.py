"""What was decided, and the score of everything that was tried, as one self-contained page."""

from pathlib import Path
from typing import Final

from maskwright.images.write import write_text
from maskwright.inference.ensemble import DECISION_PAGE
from maskwright.report.plots import drawing, svg_source
from maskwright.report.templates import template
from maskwright.tune.search import Search, Select
from maskwright.tune.tune import Decision

SCORES: Final[dict[Select, str]] = {
    "mean_iou": "mean IoU",
    "mean_precision": "mean precision over IoU 0.5 to 0.95",
}
"""What each score is called."""


def write_page(decision: Decision, folder: Path) -> Path:
    """Write ``decision.html`` into ``folder``; pictures are in it, nothing is loaded from elsewhere, no script runs."""
    file = folder / DECISION_PAGE
    write_text(file, render(decision, title=folder.resolve().name))
    return file


def render(decision: Decision, *, title: str) -> str:
    """The page as HTML."""
    return template("decision.html.j2", folder=Path(__file__).parent).render(
        title=title,
        decision=decision,
        score_name=SCORES[decision.select],
        curve=None if decision.curve is None else threshold_curve(decision.curve, SCORES[decision.select]),
    )


def threshold_curve(curve: Search, name: str) -> str:
    """Score over threshold, with every part and without those below the best area, as the source of an image."""
    threshold, area, best = curve.best
    with drawing(width=7.2, height=3.2) as (figure, axes):
        for least, colour in {0: "#7b8794", area: "#2563b0"}.items():
            label = f"parts of {least} pixels or more" if least else "every part"
            axes.plot(
                curve.thresholds, curve.scores[:, curve.areas.index(least)], color=colour, marker="o", label=label
            )
        axes.plot(threshold, best, "o", markersize=8, color="#c2410c", label=f"best: {best:.4f} at {threshold:g}")
        axes.set_xlabel("threshold")
        axes.set_ylabel(name)
        axes.legend(frameon=False)
        return svg_source(figure)
