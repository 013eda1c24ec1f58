"""Write the result of tuning as a JSON file and as one self-contained HTML page."""

from pathlib import Path

from maskwright.images.write import write_text
from maskwright.inference.ensemble import TUNING_FILE, TUNING_PAGE
from maskwright.metrics.monitor import SCORE_NAMES
from maskwright.report.plots import drawing, svg_source
from maskwright.report.templates import template
from maskwright.training.run_records import write_tuning as write_record
from maskwright.tune.result import TuningResult
from maskwright.tune.search import ThresholdSearch


def write_tuning(result: TuningResult, folder: Path) -> None:
    """Write ``tuning.json`` and ``tuning.html`` to the folder of a run or an ensemble.

    The page has embedded images, and no scripts or external resources.
    """
    write_text(folder / TUNING_PAGE, render(result, title=folder.resolve().name))
    write_record(folder / TUNING_FILE, result.record())


def render(result: TuningResult, *, title: str) -> str:
    """Return the tuning report as HTML."""
    score_name = SCORE_NAMES[result.monitor]
    return template("tuning.html.j2", folder=Path(__file__).parent).render(
        title=title,
        tuning=result.record(),
        search=result.search,
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
