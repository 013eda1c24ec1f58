"""Curves of a training as SVG pictures; matplotlib's objects, none of its global state but the style in force."""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from maskwright.report.formatting import count, score
from maskwright.report.run_contents import Epoch

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
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "maskwright",  # the same curves are the same bytes
    "text.color": _INK,
    "xtick.color": _MUTED,
    "xtick.labelcolor": _INK,
    "ytick.color": _MUTED,
    "ytick.labelcolor": _INK,
}
_MARKED_UP_TO = 60  # points; more of them run into each other


def loss_curve(history: Sequence[Epoch]) -> str:
    """Mean training loss of each epoch over steps, as the source of an image."""
    return _curve([(epoch.step, epoch.loss) for epoch in history], "training loss")


def rate_curve(history: Sequence[Epoch]) -> str:
    """Learning rate at the end of each epoch over steps, as the source of an image."""
    return _curve([(epoch.step, epoch.learning_rate) for epoch in history], "learning rate")


def validation_curve(history: Sequence[Epoch], *, best: bool = True) -> str:
    """Validation mean IoU over steps, with the best marked if asked for, as the source of an image."""
    return _curve([(epoch.step, epoch.mean_iou) for epoch in history], "validation mean IoU", mark_greatest=best)


def precision_curve(history: Sequence[Epoch]) -> str:
    """The same of the mean precision."""
    points = [(epoch.step, epoch.mean_precision) for epoch in history]
    return _curve(points, "validation mean precision", mark_greatest=True)


def _curve(points: Sequence[tuple[int, float | None]], label: str, *, mark_greatest: bool = False) -> str:
    known = [(step, value) for step, value in points if value is not None]
    with drawing() as (figure, axes):
        axes.plot(*zip(*known, strict=True), color=_LINE, marker="o" if len(known) <= _MARKED_UP_TO else "")
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
        axes.set_ylabel(label)
        axes.ticklabel_format(axis="y", scilimits=(-3, 4))
        axes.set_ylim(bottom=0)
        if mark_greatest:
            axes.set_ylim(0, 1)
            step, value = max(known, key=lambda point: point[1])
            axes.plot(step, value, marker="o", markersize=7, color=_BEST)
            at_right = step > (known[0][0] + known[-1][0]) / 2
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
    """A figure in the style of the pages, with its axes; sides in inches."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.subplots()


def svg_source(figure: Figure) -> str:
    """A figure as the source of an image; called while it is drawn, the style is the pages'."""
    svg = BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{b64encode(svg.getvalue()).decode()}"
