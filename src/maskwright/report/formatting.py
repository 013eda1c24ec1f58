"""Numbers as a page says them; what was not measured is a dash, never NaN."""

import math
from collections.abc import Iterator, Mapping

NOTHING = "–"


def score(value: float | None) -> str:
    """A score in [0, 1] with three decimals.

    >>> score(0.8126), score(None)
    ('0.813', '–')
    """
    return NOTHING if value is None or not math.isfinite(value) else f"{value:.3f}"


def count(value: int | None) -> str:
    """A number with its thousands set apart by a thin space.

    >>> count(24456154)
    '24\u2009456\u2009154'
    """
    return NOTHING if value is None else f"{value:,}".replace(",", "\u2009")


def duration(seconds: float | None) -> str:
    """A duration in its two largest units.

    >>> duration(8.4), duration(118), duration(5400)
    ('8 s', '1 min 58 s', '1 h 30 min')
    """
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def plural(number: int, noun: str) -> str:
    """A number of things.

    >>> plural(1, "image"), plural(1200, "image")
    ('1 image', '1\u2009200 images')
    """
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def rows(facts: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Facts as lines of a table, nested ones one line each.

    >>> list(rows({"stopped_by": "schedule", "seconds": 61.2, "versions": {"keras": "3.15.1"}}))
    [('stopped by', 'schedule'), ('seconds', '61.2'), ('keras', '3.15.1')]
    """
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from rows(value)
        else:
            yield name.replace("_", " "), _said(value)


def _said(value: object) -> str:
    if value is None or isinstance(value, float):
        return NOTHING if value is None or not math.isfinite(value) else f"{value:.6g}"
    return count(value) if isinstance(value, int) and not isinstance(value, bool) else str(value)
