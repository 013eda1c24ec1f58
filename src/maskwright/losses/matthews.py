"""Loss based on the Matthews correlation coefficient, which also depends on the number of true negatives."""

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
    """Compute 1 minus the Matthews correlation coefficient of soft counts as a scalar; the Keras class is `MCCLoss`.

    Args:
        y_true: Ground truth as label ids, (n, h, w) or (n, h, w, 1), or as one-hot masks, (n, h, w, c).
        y_pred: Predicted probabilities of shape (n, h, w, c).
        class_weights: Weight of each selected class, by which its score is multiplied; all weights are 1 by default.
        class_indexes: Index or indices of the channels to include; by default, all channels are included.
        per_image: Whether to average the scores of the images instead of scoring the batch as one large image.
        smooth: Number of pixels added to each count.
        ignore: Label id of the pixels to exclude, which have no effect and no gradient.
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

    The counts are sums of probabilities (Abhishek and Hamarneh, 2021). If all pixels or no pixels of the ground truth
    belong to a class, the correlation is undefined: the coefficient is then between 0 and 1/2 (0 for ``smooth=0``), and
    the gradient is small. Add cross entropy if batches of this kind are common. Classes that occur in neither the
    ground truth nor the hard prediction are excluded from the mean over classes. The loss accepts probabilities, not
    logits.

    Args:
        class_weights: Weight of each selected class, by which its score is multiplied; all weights are 1 by default.
        class_indexes: Index or indices of the channels to include; by default, all channels are included.
        per_image: Whether to average the scores of the images instead of scoring the batch as one large image.
        smooth: Number of pixels added to each count.
        ignore: Label id of the pixels to exclude, which have no effect and no gradient.
        name: Name of the loss.

    Raises:
        WrongArgument: An argument has an invalid value.

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
