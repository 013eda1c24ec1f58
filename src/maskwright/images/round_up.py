"""Round a length up to a multiple of an integer."""


def round_up(length: int, multiple: int) -> int:
    """Return the smallest multiple of ``multiple`` that is not less than ``length``.

    >>> round_up(33, 32), round_up(64, 32)
    (64, 64)
    """
    return -(-length // multiple) * multiple
