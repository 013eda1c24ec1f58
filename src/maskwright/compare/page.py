"""A comparison as one self-contained page, in the look of a run's report."""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

from maskwright.compare.bootstrap import DRAWS
from maskwright.compare.comparison import Comparison
from maskwright.compare.text import COSTS, HOW_TO_READ, INTERVAL, costs, difference, differing_settings, span
from maskwright.images.write import write_text
from maskwright.report.plots import drawing, svg_source
from maskwright.report.run_contents import Epoch
from maskwright.report.templates import template

# Okabe and Ito (2008), without the yellow that is lost on white; then again in dashes.
_COLOURS = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"
_STROKES = [(colour, stroke) for stroke in ("-", "--", ":") for colour in _COLOURS]


def write_page(comparison: Comparison, file: str | Path) -> None:
    """Write the page; pictures are in it, nothing is loaded from elsewhere and no script runs."""
    write_text(file, render(comparison))


def render(comparison: Comparison) -> str:
    """The page as HTML."""
    return template("comparison.html.j2", folder=Path(__file__).parent).render(
        title=", ".join(comparison.names),
        comparison=comparison,
        curve=validation_curves(comparison),
        cost_names=COSTS,
        costs=list(costs(comparison)),
        settings=differing_settings(comparison),
        how_to_read=HOW_TO_READ,
        interval=INTERVAL,
        draws=DRAWS,
        difference=difference,
        span=span,
    )


def validation_curves(comparison: Comparison) -> str | None:
    """Validation mean IoU of every run over minutes, as the source of an image; None where nothing was measured."""
    lines = [(name, _measured(run.history)) for name, run in zip(comparison.names, comparison.runs, strict=True)]
    if not any(points for _, points in lines):
        return None
    with drawing(width=8.8, height=3.6) as (figure, axes):
        for (name, points), (colour, stroke) in zip(lines, cycle(_STROKES), strict=False):
            if points:
                # A name that starts with _ would be left out of the legend, and $ would begin mathematics.
                label = "\u200b" + name.replace("$", r"\$")
                axes.plot(*zip(*points, strict=True), stroke, color=colour, marker="o", label=label)
        axes.set_xlabel("minutes")
        axes.set_ylabel("validation mean IoU")
        axes.set_xlim(left=0)
        axes.set_ylim(0, 1)
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
        return svg_source(figure)


def _measured(history: Sequence[Epoch]) -> list[tuple[float, float]]:
    """Minutes and score of each validation."""
    return [
        (epoch.seconds / 60, epoch.mean_iou)
        for epoch in history
        if epoch.seconds is not None and epoch.mean_iou is not None
    ]
