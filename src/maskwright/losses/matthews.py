"""A loss that also counts what is rightly rejected: Matthews' correlation of truth and prediction."""

from typing import Unpack, final

from keras import ops

from maskwright.losses.base import FunctionLoss, register
from maskwright.losses.counts import SMOOTH, Counts, count
from maskwright.losses.options import ClassIndexes, ClassWeights, RegionOptions
from maskwright.losses.region import loss_of_score
from maskwright.losses.targets import Pixels, Tensor


def mcc(y_true: Tensor, y_pred: Tensor, *, smooth: float = SMOOTH, **options: Unpack[RegionOptions]) -> Tensor:
    """The function of `MCCLoss`, a scalar."""

    def score(pixels: Pixels, counts: Counts) -> Tensor:
        rejected = pixels.known * (1 - pixels.truth) * (1 - pixels.guess)
        rejections = count(rejected, per_image=options.get("per_image", False)) + smooth
        hits, false_alarms, misses = (each + smooth for each in counts)
        found_sides = ops.sqrt_product = None
        return found_sides

    return loss_of_score(y_true, y_pred, score, **options)
