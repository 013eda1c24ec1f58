"""Format numbers for pages and tables; a missing or non-finite value is shown as a dash."""

import math
from collections.abc import Iterator, Mapping
from typing import Final

from maskwright.training import duration as durations

MISSING: Final = "–"


def score(value: float | None) -> str:
    """Format a score in [0, 1] with three decimals.

    >>> score(0.8126), score(None)
    ('0.813', '–')
    """
    return MISSING if value is None or not math.isfinite(value) else f"{value:.3f}"


def count(value: int | None) -> str:
    """Format an integer with thin spaces between groups of three digits.

    >>> count(24456154)
    '24\u2009456\u2009154'
    """
    return MISSING if value is None else f"{value:,}".replace(",", "\u2009")


def duration(seconds: float | None) -> str:
    """Format a duration, given in seconds, in its two largest units.

    >>> duration(118), duration(None)
    ('1 min 58 s', '–')
    """
    return MISSING if seconds is None else durations.format_duration(seconds)


def plural(number: int, noun: str) -> str:
    """Format a number with its noun, in the singular or plural.

    >>> plural(1, "image"), plural(1200, "image")
    ('1 image', '1\u2009200 images')
    """
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def rows(facts: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yield table rows, each a name and a formatted value; a nested mapping yields one row per entry.

    >>> list(rows({"stopped_by": "schedule", "seconds": 61.2, "versions": {"keras": "3.15.1"}}))
    [('stopped by', 'schedule'), ('seconds', '61.2'), ('keras', '3.15.1')]
    """
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from rows(value)
        else:
            yield name.replace("_", " "), _format_value(value)


def _format_value(value: object) -> str:
    match value:
        case None:
            return MISSING
        case bool():
            return str(value)
        case int():
            return count(value)
        case float():
            return f"{value:.6g}" if math.isfinite(value) else MISSING
        case list() | tuple():
            return " ".join(map(_format_value, value))
        case _:
            return str(value)
