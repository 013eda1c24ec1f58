"""How far a score would move with other images of the same kind: the bootstrap of Efron and Tibshirani (1993).

Images are drawn with replacement, as many as there are; what the scores of such sets spread over is their interval.
Runs are scored on the same draws, so that what is hard in an image is hard for all of them and leaves the difference.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

DRAWS: Final = 2000
PERCENT: Final = 95

_BLOCK = 100  # draws held at once

Floats = NDArray[np.float64]


def overlaps(pixels: NDArray[np.number], *, background: bool) -> Floats:
    """Mean IoU, then the IoU of each class, (..., 1 + classes); NaN by the rule of `maskwright.metrics`.

    Args:
        pixels: Hits, true and predicted pixels of each class, (..., 3, classes).
        background: Whether class 0 has no part in the mean.

    >>> overlaps(np.array([[90, 5, 0], [92, 8, 0], [93, 7, 0]]), background=True).round(4)
    array([0.5   , 0.9474, 0.5   ,    nan])
    """
    true_positives, true, predicted = np.moveaxis(pixels, -2, 0)
    ious = _ratio(true_positives, true + predicted - true_positives)
    scored = ious[..., background:]
    mean = _ratio(np.nansum(scored, axis=-1), np.isfinite(scored).sum(axis=-1))
    return np.concatenate([mean[..., None], ious], axis=-1)


def bootstrap(pixels: NDArray[np.integer], *, background: bool, draws: int = DRAWS, seed: int = 0) -> Floats:
    """What `overlaps` gives for sets of images drawn with replacement, (draws, runs, 1 + classes).

    No draws are made of a single image: it says nothing of others.

    Args:
        pixels: Hits, true and predicted pixels of each run, image and class, (runs, images, 3, classes).
        background: Whether class 0 has no part in the mean.
        draws: Number of sets.
        seed: Of the draws; they depend on it and on the number of images alone.
    """
    runs, images, _, classes = pixels.shape
    if images < 2:
        return np.empty((0, runs, 1 + classes))
    flat = pixels.reshape(runs, images, 3 * classes).astype(np.float64)  # sums of whole numbers stay exact to 2**53
    sums = [weights @ flat for weights in drawn_weights(images, draws=draws, seed=seed)]  # (runs, block, 3 * classes)
    drawn = np.concatenate(sums, axis=1).reshape(runs, draws, 3, classes)
    return overlaps(drawn.swapaxes(0, 1), background=background)


def drawn_weights(images: int, *, draws: int, seed: int) -> Iterator[Floats]:
    """How often each image is in each of the sets, in blocks (block, images)."""
    generator = np.random.default_rng(seed)
    for start in range(0, draws, _BLOCK):
        block = min(_BLOCK, draws - start)
        yield generator.multinomial(images, np.full(images, 1 / images), size=block).astype(np.float64)


def interval(drawn: Floats) -> tuple[float, float] | None:
    """The percentile interval of a score's draws, (draws,): the middle 95 % of them.

    Draws without the score, as of a class that none of their images has, are left out; None where none has it.

    >>> interval(np.linspace(0, 1, 201))
    (0.025, 0.975)
    """
    known = drawn[np.isfinite(drawn)]
    if not known.size:
        return None
    tail = (100 - PERCENT) / 2
    low, high = np.percentile(known, [tail, 100 - tail])
    return float(low), float(high)


def _ratio(part: NDArray[np.number], whole: NDArray[np.number]) -> Floats:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0)
