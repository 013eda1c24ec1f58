"""Write the report of tuning as one self-contained HTML page."""

from pathlib import Path

from maskwright.images.write import write_text
from maskwright.inference.ensemble import TUNING_PAGE
from maskwright.metrics.monitor import SCORE_NAMES
from maskwright.report.plots import drawing, svg_source
from maskwright.report.templates import template
from maskwright.tune.result import TuningResult
from maskwright.tune.search import ThresholdSearch


def write_page(result: TuningResult, folder: Path) -> Path:
    """Write ``tuning.html`` to ``folder``; images are embedded, and there are no scripts or external resources."""
    file = folder / TUNING_PAGE
    write_text(file, render(result, title=folder.resolve().name))
    return file


def render(result: TuningResult, *, title: str) -> str:
    """Return the tuning report as HTML."""
    score_name = SCORE_NAMES[result.monitor]
    return template("tuning.html.j2", folder=Path(__file__).parent).render(
        title=title,
        result=result,
        score_name=score_name,
        curve=None if result.search is None else threshold_curve(result.search, score_name),
    )


def threshold_curve(search: ThresholdSearch, score_name: str) -> str:
    """Plot the score against the threshold, without and with the best minimum component size, as a data URI."""
    threshold, best_size, best = search.best
    with drawing(width=7.2, height=3.2) as (figure, axes):
        for size, colour in {0: "#7b8794", best_size: "#2563b0"}.items():
            label = f"components of {size} pixels or more" if size else "all components"
            scores = search.scores[:, search.min_sizes.index(size)]
            axes.plot(search.thresholds, scores, color=colour, marker="o", label=label)
        axes.plot(threshold, best, "o", markersize=8, color="#c2410c", label=f"best: {best:.4f} at {threshold:g}")
        axes.set_xlabel("threshold")
        axes.set_ylabel(score_name)
        axes.legend(frameon=False)
        return svg_source(figure)
