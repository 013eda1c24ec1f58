"""Write a comparison as one self-contained HTML page in the style of the report of a run."""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

from maskwright.compare.bootstrap import RESAMPLES
from maskwright.compare.comparison import Comparison
from maskwright.compare.text import COSTS, HOW_TO_READ, INTERVAL, costs, difference, differing_settings, format_interval
from maskwright.images.write import write_text
from maskwright.report.plots import drawing, svg_source
from maskwright.report.templates import template
from maskwright.training.run_records import Epoch

# The palette of Okabe and Ito (2008) without yellow, which has too little contrast on white, in three line styles.
_COLOURS = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"
_LINE_STYLES = [(colour, style) for style in ("-", "--", ":") for colour in _COLOURS]


def write_page(comparison: Comparison, file: str | Path) -> None:
    """Write the page of a comparison to an HTML file with embedded images and without scripts or external resources."""
    write_text(file, render(comparison))


def render(comparison: Comparison) -> str:
    """Return the page of a comparison as HTML."""
    return template("comparison.html.j2", folder=Path(__file__).parent).render(
        title=", ".join(comparison.names),
        comparison=comparison,
        curve=validation_curves(comparison),
        cost_names=COSTS,
        costs=list(costs(comparison)),
        settings=differing_settings(comparison),
        how_to_read=HOW_TO_READ,
        interval_name=INTERVAL,
        resamples=RESAMPLES,
        difference=difference,
        format_interval=format_interval,
    )


def validation_curves(comparison: Comparison) -> str | None:
    """Plot the validation mean IoU of every run against the training time in minutes.

    Returns:
        The plot as a data URI, or None if the history of no run contains a validation.
    """
    curves = [(name, _validations(run.history)) for name, run in zip(comparison.names, comparison.runs, strict=True)]
    if not any(points for _, points in curves):
        return None
    with drawing(width=8.8, height=3.6) as (figure, axes):
        for (name, points), (colour, style) in zip(curves, cycle(_LINE_STYLES), strict=False):
            if points:
                # Matplotlib omits labels that start with _ from the legend, and interprets $ as the start of a formula.
                label = "\u200b" + name.replace("$", r"\$")
                axes.plot(*zip(*points, strict=True), style, color=colour, marker="o", label=label)
        axes.set_xlabel("minutes")
        axes.set_ylabel("validation mean IoU")
        axes.set_xlim(left=0)
        axes.set_ylim(0, 1)
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
        return svg_source(figure)


def _validations(history: Sequence[Epoch]) -> list[tuple[float, float]]:
    """Return the training time in minutes and the mean IoU at each validation."""
    return [(epoch.seconds / 60, epoch.val_mean_iou) for epoch in history if epoch.val_mean_iou is not None]
