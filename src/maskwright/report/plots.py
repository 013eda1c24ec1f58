"""Plot training curves as SVG.

Matplotlib figures are used directly, without pyplot, and the style of the report is set only while a figure is drawn.
"""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from maskwright.metrics.monitor import SCORE_NAMES, Monitor
from maskwright.report.formatting import count, score
from maskwright.training.run_records import Epoch

_INK, _MUTED, _LINE, _BEST = "#1f2933", "#7b8794", "#2563b0", "#c2410c"
_STYLE = {
    "axes.edgecolor": _MUTED,
    "axes.grid": True,
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9,
    "grid.color": "#e4e7eb",
    "lines.linewidth": 1.8,
    "lines.markersize": 3.5,
    "svg.fonttype": "none",  # text is stored as text, not as paths
    "svg.hashsalt": "maskwright",  # with a fixed salt, equal curves produce equal SVG files
    "text.color": _INK,
    "xtick.color": _MUTED,
    "xtick.labelcolor": _INK,
    "ytick.color": _MUTED,
    "ytick.labelcolor": _INK,
}
_MAX_MARKERS = 60  # maximum number of points that are plotted with markers, since more markers would overlap


def loss_curve(history: Sequence[Epoch]) -> str:
    """Plot the mean training loss of each epoch against the step, and return the plot as a data URI."""
    return _curve([(epoch.step, epoch.loss) for epoch in history], "training loss")


def lr_curve(history: Sequence[Epoch]) -> str:
    """Plot the learning rate at the end of each epoch against the step, and return the plot as a data URI."""
    return _curve([(epoch.step, epoch.learning_rate) for epoch in history], "learning rate")


def score_curve(history: Sequence[Epoch], monitor: Monitor, *, mark_best: bool) -> str:
    """Plot a validation score against the step, mark the best if requested, and return the plot as a data URI."""
    points = [(epoch.step, getattr(epoch, f"val_{monitor}")) for epoch in history]
    return _curve(points, f"validation {SCORE_NAMES[monitor]}", mark_best=mark_best)


def _curve(points: Sequence[tuple[int, float | None]], label: str, *, mark_best: bool = False) -> str:
    measured = [(step, value) for step, value in points if value is not None]
    with drawing() as (figure, axes):
        axes.plot(*zip(*measured, strict=True), color=_LINE, marker="o" if len(measured) <= _MAX_MARKERS else "")
        axes.set_xlabel("step")
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
        axes.set_ylabel(label)
        axes.ticklabel_format(axis="y", scilimits=(-3, 4))
        axes.set_ylim(bottom=0)
        if mark_best:
            axes.set_ylim(0, 1)
            step, value = max(measured, key=lambda point: point[1])
            axes.plot(step, value, marker="o", markersize=7, color=_BEST)
            at_right = step > (measured[0][0] + measured[-1][0]) / 2
            axes.annotate(
                f"best {score(value)}, step {count(step)}",
                (step, value),
                xytext=(4 if at_right else -4, -14 if value > 0.5 else 10),
                textcoords="offset points",
                ha="right" if at_right else "left",
                va="top" if value > 0.5 else "bottom",
                color=_BEST,
            )
        return svg_source(figure)


@contextmanager
def drawing(*, width: float = 4.4, height: float = 2.8) -> Iterator[tuple[Figure, Axes]]:
    """Yield a figure of ``width`` by ``height`` inches in the style of the report, and its axes."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.subplots()


def svg_source(figure: Figure) -> str:
    """Return a figure as a data URI of an SVG image; the style is applied only if this is called within `drawing`."""
    svg = BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{b64encode(svg.getvalue()).decode()}"
