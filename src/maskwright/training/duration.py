"""Format durations for messages, tables and reports."""


def format_duration(seconds: float) -> str:
    """Format a duration in its two largest units.

    >>> format_duration(8.4), format_duration(118), format_duration(5400)
    ('8 s', '1 min 58 s', '1 h 30 min')
    """
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
