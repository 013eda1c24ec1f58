"""Compute patch sizes for progressive resizing, with smaller patches in the first part of training."""

import math
from typing import Final

from maskwright.training.recipe import ProgressiveResize

MULTIPLE: Final = 32
"""Number of pixels by which the sides of patches are divisible, since encoders halve the resolution five times."""
_MIN_SIDE: Final = 2 * MULTIPLE  # minimum side of a smaller patch, in pixels


def patch_size(progress: float, *, patch: tuple[int, int], resize: ProgressiveResize | None) -> tuple[int, int]:
    """Return the patch size at a given progress of the run.

    Before ``resize.until``, the size is about ``resize.scale`` times the full size. Features learned on small images
    transfer to large ones, and steps on small images take less time (Touvron et al., "Fixing the train-test resolution
    discrepancy", 2019; Howard, fastai's DAWNBench entry, 2018).

    Args:
        progress: Progress of the run, in [0, 1].
        patch: Full height and width of the patches, in pixels.
        resize: Settings of progressive resizing; None to use the full size throughout.

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
    """Return the multiples of 32 pixels next to ``scale * side``, but no side below 64 pixels unless ``side`` itself is
    smaller."""
    smallest = min(side, _MIN_SIDE)
    return {max(smallest, MULTIPLE * rounded(side * scale / MULTIPLE)) for rounded in (math.floor, math.ceil)}
