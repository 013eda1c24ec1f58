"""Progressive resizing: smaller patches in the first part of a training."""

import math
from typing import Final

from maskwright.training.recipe import ProgressiveResize

MULTIPLE: Final = 32
"""Patch sides are multiples of this many pixels, since encoders halve the resolution five times."""
_MIN_SIDE: Final = 2 * MULTIPLE  # pixels, of a smaller patch


def patch_size(progress: float, *, patch: tuple[int, int], resize: ProgressiveResize | None) -> tuple[int, int]:
    """Return the patch size at ``progress`` in [0, 1]: about ``resize.scale`` of ``patch`` before ``resize.until``.

    Features learned on small images transfer to large ones, and steps on small images take less time (Touvron et al.,
    "Fixing the train-test resolution discrepancy", 2019; Howard, fastai's DAWNBench entry, 2018).

    >>> [patch_size(progress, patch=(256, 320), resize=ProgressiveResize()) for progress in (0.0, 0.7)]
    [(160, 192), (256, 320)]
    """
    if resize is None or progress >= resize.until:
        return patch
    scale = resize.scale
    heights, widths = (_rounded_sides(side, scale) for side in patch)

    def distortion(size: tuple[int, int]) -> float:
        vertical, horizontal = size[0] / patch[0], size[1] / patch[1]
        return abs(math.log(vertical / horizontal)) + abs(math.log(vertical * horizontal / scale**2)) / 2

    return min(((height, width) for height in heights for width in widths), key=distortion)


def _rounded_sides(side: int, scale: float) -> set[int]:
    """Return the multiples below and above ``scale * side``, at least 64 pixels if ``side`` is."""
    smallest = min(side, _MIN_SIDE)
    return {max(smallest, MULTIPLE * rounded(side * scale / MULTIPLE)) for rounded in (math.floor, math.ceil)}
