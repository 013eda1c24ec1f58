"""Compute the learning rate schedule: linear warm-up and cosine decay, optionally with warm restarts."""

import math


def learning_rate(progress: float, *, peak: float, warmup: float, cycles: int = 1) -> float:
    """Return the learning rate after linear warm-up to ``peak`` and cosine decay to zero.

    With several cycles, the decay is repeated from the peak, and all cycles have the same length (Loshchilov and
    Hutter, "SGDR: Stochastic gradient descent with warm restarts", 2017).

    Args:
        progress: Progress of the run, in [0, 1].
        peak: Peak learning rate.
        warmup: Fraction of the run used for warm-up.
        cycles: Number of cycles.

    >>> [round(learning_rate(p, peak=1.0, warmup=0.2), 3) for p in (0.0, 0.1, 0.2, 0.6, 1.0)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    >>> [round(learning_rate(p, peak=1.0, warmup=0.2, cycles=2), 3) for p in (0.2, 0.4, 0.59, 0.61, 0.8, 1.0)]
    [1.0, 0.5, 0.002, 0.998, 0.5, 0.0]
    """
    if progress < warmup:
        return peak * progress / warmup
    cycle = _cycle(progress, warmup, cycles)
    within = 1.0 if cycle >= cycles else cycle % 1
    return peak * 0.5 * (1 + math.cos(math.pi * within))


def cycles_ended(progress: float, *, warmup: float, cycles: int) -> int:
    """Return the number of learning-rate cycles that have ended at ``progress``.

    Args:
        progress: Progress of the run, in [0, 1].
        warmup: Fraction of the run used for warm-up.
        cycles: Total number of cycles.

    >>> [cycles_ended(p, warmup=0.2, cycles=2) for p in (0.0, 0.59, 0.61, 1.0)]
    [0, 0, 1, 2]
    """
    return max(0, math.floor(_cycle(progress, warmup, cycles)))


def _cycle(progress: float, warmup: float, cycles: int) -> float:
    return cycles * (progress - warmup) / (1 - warmup)
