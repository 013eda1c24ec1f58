"""Format the parts of a comparison that are shown both in the terminal and on the page."""

from collections.abc import Iterator
from typing import Any, Final

from maskwright.compare.bootstrap import PERCENT
from maskwright.compare.comparison import Comparison, Estimate
from maskwright.report.formatting import MISSING, count, score
from maskwright.training.duration import format_duration

INTERVAL: Final = f"{PERCENT} % interval"
COSTS: Final = ("time", "steps", "parameters", "on disk", "per image", "computed in")
HOW_TO_READ: Final = (
    "Intervals show the uncertainty from the choice of images only. They do not include the variation between seeds, "
    "nor the optimistic bias of choosing each run's best network on these same images."
)


def format_interval(estimate: Estimate, *, signed: bool = False) -> str:
    """Format a confidence interval, with explicit signs if ``signed`` is true.

    >>> format_interval(Estimate(0.51, (0.4861, 0.5329)))
    '[0.486, 0.533]'
    >>> format_interval(Estimate(0.01, (-0.012, 0.031)), signed=True)
    '[−0.012, +0.031]'
    """
    if estimate.interval is None:
        return MISSING
    return f"[{', '.join(map(difference if signed else score, estimate.interval))}]"


def difference(value: float | None) -> str:
    """Format a difference between scores with its sign; a difference that rounds to zero has no sign.

    >>> difference(0.0314), difference(-0.2), difference(-0.0001)
    ('+0.031', '−0.200', '0.000')
    """
    if value is None or round(value, 3) == 0:
        return MISSING if value is None else score(0.0)
    return f"{value:+.3f}".replace("-", "\u2212")


def costs(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    """Yield a table row for each run, which contains its name and its costs in the order of `COSTS`."""
    for name, run in zip(comparison.names, comparison.runs, strict=True):
        facts = run.facts
        yield (
            name,
            format_duration(facts.seconds),
            count(facts.steps),
            count(facts.parameters),
            f"{run.file_bytes / 1e6:.1f} MB",
            f"{comparison.milliseconds(run):.0f} ms",
            f"{facts.precision}, {facts.backend}",
        )


def differing_settings(comparison: Comparison) -> list[tuple[str, tuple[str, ...]]]:
    """Return the names of recipe fields that differ between the runs, each with its value in every run."""
    recipes = [dict(_fields(run.recipe.model_dump(mode="json"))) for run in comparison.runs]
    values = {name: tuple(str(recipe[name]) for recipe in recipes) for name in recipes[0]}
    return [(name, found) for name, found in values.items() if len(set(found)) > 1]


def _fields(recipe: dict[str, Any]) -> Iterator[tuple[str, object]]:
    for section, fields in recipe.items():
        yield from ((f"{section}.{name}", value) for name, value in fields.items())
