"""Format durations for messages, tables and reports."""


def format_duration(seconds: float) -> str:
    """Format a duration in its two largest units, and omit a unit whose value is zero.

    >>> format_duration(8.4), format_duration(118), format_duration(5400), format_duration(7200)
    ('8 s', '1 min 58 s', '1 h 30 min', '2 h')
    """
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    units = [(hours, "h"), (minutes, "min")] if hours else [(minutes, "min"), (seconds, "s")]
    return " ".join(f"{value} {unit}" for value, unit in units if value) or "0 s"
