"""Round a length up to a multiple."""


def round_up(length: int, multiple: int) -> int:
    """Return the least multiple of ``multiple`` that is not below ``length``.

    >>> round_up(33, 32), round_up(64, 32)
    (64, 64)
    """
    return -(-length // multiple) * multiple
