"""What a comparison says, the same in the terminal and on the page."""

from collections.abc import Iterator
from typing import Any, Final

from maskwright.compare.bootstrap import PERCENT
from maskwright.compare.comparison import Comparison, Estimate
from maskwright.report.formatting import NOTHING, count, duration, score

INTERVAL: Final = f"{PERCENT} % interval"
COSTS: Final = ("time", "steps", "parameters", "on disk", "an image", "computed in")
HOW_TO_READ: Final = (
    "Intervals are of the images alone: how far a score would move with others of the same kind. What another seed of "
    "the training would give is not in them, nor is that each run kept the network that was best on these very images."
)


def span(estimate: Estimate, *, signed: bool = False) -> str:
    """An interval.

    >>> span(Estimate(0.51, (0.4861, 0.5329))), span(Estimate(0.01, (-0.012, 0.031)), signed=True)
    ('[0.486, 0.533]', '[−0.012, +0.031]')
    """
    if estimate.interval is None:
        return NOTHING
    return f"[{', '.join(map(difference if signed else score, estimate.interval))}]"


def difference(value: float | None) -> str:
    """A difference with its sign; what rounds to nothing has none.

    >>> difference(0.0314), difference(-0.2), difference(-0.0001)
    ('+0.031', '−0.200', '0.000')
    """
    if value is None or round(value, 3) == 0:
        return NOTHING if value is None else score(0.0)
    return f"{value:+.3f}".replace("-", "\u2212")


def costs(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    """The name of each run and, as `COSTS` names them, what it took."""
    for name, run in zip(comparison.names, comparison.runs, strict=True):
        facts, milliseconds = run.facts, comparison.milliseconds(run)
        yield (
            name,
            duration(facts.seconds),
            count(facts.steps),
            count(facts.parameters),
            f"{run.file_bytes / 1e6:.1f} MB",
            NOTHING if milliseconds is None else f"{milliseconds:.0f} ms",
            ", ".join(filter(None, (facts.precision, facts.backend))) or NOTHING,
        )


def differing_settings(comparison: Comparison) -> list[tuple[str, tuple[str, ...]]]:
    """The fields of the recipe that are not the same in all runs, and the value in each."""
    recipes = [dict(_fields(run.recipe.model_dump(mode="json"))) for run in comparison.runs]
    values = {name: tuple(str(recipe[name]) for recipe in recipes) for name in recipes[0]}
    return [(name, found) for name, found in values.items() if len(set(found)) > 1]


def _fields(recipe: dict[str, Any]) -> Iterator[tuple[str, object]]:
    for section, fields in recipe.items():
        yield from ((f"{section}.{name}", value) for name, value in fields.items())
