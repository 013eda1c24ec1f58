"""Loss from the Matthews correlation coefficient, which also counts true negatives."""

from typing import final

from keras import ops

from maskwright.losses.arguments import ClassIndexes, ClassWeights
from maskwright.losses.base import FunctionLoss, register
from maskwright.losses.region import region_loss
from maskwright.losses.soft_counts import SMOOTH, SoftCounts, sum_over_pixels
from maskwright.losses.targets import Pixels, Tensor


def mcc(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    class_weights: ClassWeights = None,
    class_indexes: ClassIndexes = None,
    per_image: bool = False,
    smooth: float = SMOOTH,
    ignore: int | None = None,
) -> Tensor:
    """Compute 1 - Matthews correlation coefficient with soft counts, a scalar; `MCCLoss` is the Keras loss.

    Args:
        y_true: Label ids, (n, h, w) or (n, h, w, 1), or one-hot masks (n, h, w, c).
        y_pred: Probabilities (n, h, w, c).
        class_weights: One weight per selected class, multiplied with its score. All 1 by default.
        class_indexes: Index or indices of the channels to include. All by default.
        per_image: Whether to score each image and average, instead of the batch as one large image.
        smooth: Pixels added to each count.
        ignore: Label id of pixels to exclude; they have no effect and no gradient.
    """

    def score(pixels: Pixels, counts: SoftCounts) -> Tensor:
        rejected = pixels.valid * (1 - pixels.truth) * (1 - pixels.prediction)
        tn = sum_over_pixels(rejected, per_image=per_image) + smooth
        tp, fp, fn = (count + smooth for count in counts)
        product = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
        defined = product > 0
        return ops.where(defined, (tp * tn - fp * fn) / ops.sqrt(ops.where(defined, product, 1.0)), 0.0)

    return region_loss(
        y_true,
        y_pred,
        score,
        class_weights=class_weights,
        class_indexes=class_indexes,
        per_image=per_image,
        ignore=ignore,
    )


@final
@register
class MCCLoss(FunctionLoss):
    """Matthews loss: 1 - (TP TN - FP FN) / sqrt((TP + FP) (TP + FN) (TN + FP) (TN + FN)), in [0, 2].

    The counts are sums of probabilities (Abhishek and Hamarneh, 2021). A class that fills the truth or has no pixel in
    it has no correlation: there the coefficient is between 0 and 1/2 (0 for ``smooth=0``) and the gradient is small.
    Add cross entropy if such batches are common. Classes in neither truth nor hard prediction are excluded from the
    mean over classes. Takes probabilities, not logits.

    Args:
        class_weights: One weight per selected class, multiplied with its score. All 1 by default.
        class_indexes: Index or indices of the channels to include. All by default.
        per_image: Whether to score each image and average, instead of the batch as one large image.
        smooth: Pixels added to each count.
        ignore: Label id of pixels to exclude; they have no effect and no gradient.
        name: Name of the loss.

    Raises:
        WrongArgument: An argument cannot be used.

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
