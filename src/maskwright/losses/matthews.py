"""A loss that also counts what is rightly rejected: Matthews' correlation of truth and prediction."""

from typing import Unpack, final

from keras import ops

from maskwright.losses.arguments import ClassIndexes, ClassWeights, RegionOptions
from maskwright.losses.base import FunctionLoss, register
from maskwright.losses.region import loss_of_score
from maskwright.losses.soft_counts import SMOOTH, Counts, count
from maskwright.losses.targets import Pixels, Tensor


def mcc(y_true: Tensor, y_pred: Tensor, *, smooth: float = SMOOTH, **options: Unpack[RegionOptions]) -> Tensor:
    """The function of `MCCLoss`, a scalar."""

    def score(pixels: Pixels, counts: Counts) -> Tensor:
        rejected = pixels.known * (1 - pixels.truth) * (1 - pixels.prediction)
        rejections = count(rejected, per_image=options.get("per_image", False)) + smooth
        true_positives, false_positives, false_negatives = (each + smooth for each in counts)
        sides = (true_positives + false_positives) * (true_positives + false_negatives) * (rejections + false_positives) * (rejections + false_negatives)
        defined = sides > 0
        agreement = true_positives * rejections - false_positives * false_negatives
        return ops.where(defined, agreement / ops.sqrt(ops.where(defined, sides, 1.0)), 0.0)

    return loss_of_score(y_true, y_pred, score, **options)


@final
@register
class MCCLoss(FunctionLoss):
    """1 - Matthews' correlation coefficient (Abhishek and Hamarneh 2021), between 0 and 2.

    With true_positives h, false positives f, false_negatives m and rightly rejected pixels r, each a sum of probabilities plus ``smooth``,
    the coefficient is (h r - f m) / sqrt((h + f) (h + m) (r + f) (r + m)). A class that fills the truth, or has no
    pixel in it, has no correlation: there the coefficient is between 0 and 1/2 (0 for ``smooth=0``), and the loss
    teaches little; add cross entropy where such batches are common. The options are those of `RegionOptions`.

    >>> loss = MCCLoss(smooth=0)
    >>> truth, prediction = [[[1, 1, 1, 0, 0, 0]]], [[[[1.0], [1.0], [0.0], [1.0], [0.0], [0.0]]]]
    >>> round(float(loss(truth, prediction)), 4)  # 1 - (2 * 2 - 1 * 1) / sqrt(3 * 3 * 3 * 3)
    0.6667
    """

    def __init__(
        self,
        *,
        class_weights: ClassWeights = None,
        class_indexes: ClassIndexes = None,
        per_image: bool = False,
        smooth: float = SMOOTH,
        ignore: int | None = None,
        name: str = "mcc_loss",
    ) -> None:
        super().__init__(
            mcc,
            name=name,
            class_weights=class_weights,
            class_indexes=class_indexes,
            per_image=per_image,
            smooth=smooth,
            ignore=ignore,
        )
