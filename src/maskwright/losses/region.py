"""Jaccard and Dice losses, and the computation shared by all region losses.

A region loss is 1 minus the mean over classes of a score times the class weight, as in segmentation_models. With class
weights whose mean is 1, the loss is in [0, 1]; other weights shift it by a constant. Classes that occur in neither the
ground truth nor the hard prediction are excluded (see `maskwright.metrics`); if no class is left, the loss is 0.

Region losses accept probabilities, never logits. On an image without the class, any false positive results in a loss
near 1 but almost no gradient. The gradient is ``smooth`` divided by the square of the number of predicted pixels, and 0
once no pixel is predicted. Add cross entropy if images without the class are common.
"""

from collections.abc import Callable
from typing import TypeAlias, final

from keras import ops

from maskwright.losses.absent_classes import present_classes, weighted_mean_over_present
from maskwright.losses.arguments import ClassIndexes, ClassWeights
from maskwright.losses.base import FunctionLoss, register
from maskwright.losses.soft_counts import SMOOTH, SoftCounts, f_score_index, soft_counts, tversky_index
from maskwright.losses.targets import Pixels, Tensor, read_pixels

Score: TypeAlias = Callable[[Pixels, SoftCounts], Tensor]
"""Function that computes a score of at most 1 for each image and class from `Pixels` and `SoftCounts`."""


def region_loss(
    y_true: Tensor,
    y_pred: Tensor,
    score: Score,
    *,
    class_weights: ClassWeights,
    class_indexes: ClassIndexes,
    per_image: bool,
    ignore: int | None,
) -> Tensor:
    """Return 1 minus the weighted mean of a score over the present classes, or 0 if none is present."""
    pixels = read_pixels(y_true, y_pred, class_indexes=class_indexes, ignore=ignore)
    scores = score(pixels, soft_counts(pixels, per_image=per_image))
    present = present_classes(pixels, per_image=per_image)
    mean, any_present = weighted_mean_over_present(scores, present, class_weights=class_weights)
    return ops.where(any_present, 1 - mean, 0.0)


def jaccard(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    class_weights: ClassWeights = None,
    class_indexes: ClassIndexes = None,
    per_image: bool = False,
    smooth: float = SMOOTH,
    ignore: int | None = None,
) -> Tensor:
    """Compute 1 minus the IoU of soft counts as a scalar; the Keras class is `JaccardLoss`.

    Args:
        y_true: Ground truth as label ids, (n, h, w) or (n, h, w, 1), or as one-hot masks, (n, h, w, c).
        y_pred: Predicted probabilities of shape (n, h, w, c).
        class_weights: Weight of each selected class, by which its score is multiplied; all weights are 1 by default.
        class_indexes: Index or indices of the channels to include; by default, all channels are included.
        per_image: Whether to average the scores of the images instead of scoring the batch as one large image.
        smooth: Number of pixels added to the numerator and denominator of each ratio.
        ignore: Label id of the pixels to exclude, which have no effect and no gradient.
    """

    def score(_: Pixels, counts: SoftCounts) -> Tensor:
        return tversky_index(counts, alpha=1.0, beta=1.0, smooth=smooth)

    return region_loss(
        y_true,
        y_pred,
        score,
        class_weights=class_weights,
        class_indexes=class_indexes,
        per_image=per_image,
        ignore=ignore,
    )


def dice(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    beta: float = 1.0,
    class_weights: ClassWeights = None,
    class_indexes: ClassIndexes = None,
    per_image: bool = False,
    smooth: float = SMOOTH,
    ignore: int | None = None,
) -> Tensor:
    """Compute 1 minus the F-score of soft counts as a scalar; the Keras class is `DiceLoss`.

    Args:
        y_true: Ground truth as label ids, (n, h, w) or (n, h, w, 1), or as one-hot masks, (n, h, w, c).
        y_pred: Predicted probabilities of shape (n, h, w, c).
        beta: Weight of recall relative to precision; with 1, the score is the Dice score.
        class_weights: Weight of each selected class, by which its score is multiplied; all weights are 1 by default.
        class_indexes: Index or indices of the channels to include; by default, all channels are included.
        per_image: Whether to average the scores of the images instead of scoring the batch as one large image.
        smooth: Number of pixels added to the numerator and denominator of each ratio.
        ignore: Label id of the pixels to exclude, which have no effect and no gradient.
    """

    def score(_: Pixels, counts: SoftCounts) -> Tensor:
        return f_score_index(counts, beta=beta, smooth=smooth)

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
class JaccardLoss(FunctionLoss):
    """Jaccard loss: 1 - TP / (TP + FP + FN), the complement of IoU, with sums of probabilities as counts.

    Classes that occur in neither the ground truth nor the hard prediction are excluded from the mean over classes. The
    loss accepts probabilities, not logits.

    Args:
        class_weights: Weight of each selected class, by which its score is multiplied; all weights are 1 by default.
        class_indexes: Index or indices of the channels to include; by default, all channels are included.
        per_image: Whether to average the scores of the images instead of scoring the batch as one large image.
        smooth: Number of pixels added to the numerator and denominator of each ratio.
        ignore: Label id of the pixels to exclude, which have no effect and no gradient.
        name: Name of the loss.

    Raises:
        WrongArgument: An argument has an invalid value.

    >>> loss = JaccardLoss(smooth=0)
    >>> round(float(loss([[[1, 1, 0]]], [[[[1.0], [0.5], [0.5]]]])), 4)  # TP 1.5, FP 0.5, FN 0.5
    0.4
    """

    def __init__(
        self,
        class_weights: ClassWeights = None,
        class_indexes: ClassIndexes = None,
        *,
        per_image: bool = False,
        smooth: float = SMOOTH,
        ignore: int | None = None,
        name: str = "jaccard_loss",
    ) -> None:
        super().__init__(
            jaccard,
            name=name,
            class_weights=class_weights,
            class_indexes=class_indexes,
            per_image=per_image,
            smooth=smooth,
            ignore=ignore,
        )


@final
@register
class DiceLoss(FunctionLoss):
    """Dice loss: 1 - F-score, with sums of probabilities as counts (as in Milletari et al., 2016, but without squares).

    The score is (1 + beta²) TP / ((1 + beta²) TP + beta² FN + FP). Classes that occur in neither the ground truth nor
    the hard prediction are excluded from the mean over classes. The loss accepts probabilities, not logits.

    Args:
        beta: Weight of recall relative to precision; with 1, the score is the Dice score.
        class_weights: Weight of each selected class, by which its score is multiplied; all weights are 1 by default.
        class_indexes: Index or indices of the channels to include; by default, all channels are included.
        per_image: Whether to average the scores of the images instead of scoring the batch as one large image.
        smooth: Number of pixels added to the numerator and denominator of each ratio.
        ignore: Label id of the pixels to exclude, which have no effect and no gradient.
        name: Name of the loss.

    Raises:
        WrongArgument: An argument has an invalid value.

    >>> loss = DiceLoss(beta=2, smooth=0)
    >>> round(float(loss([[[1, 1, 0]]], [[[[1.0], [0.5], [0.0]]]])), 4)  # TP 1.5, FN 0.5: 1 - 7.5 / 9.5
    0.2105
    """

    def __init__(
        self,
        beta: float = 1.0,
        class_weights: ClassWeights = None,
        *,
        class_indexes: ClassIndexes = None,
        per_image: bool = False,
        smooth: float = SMOOTH,
        ignore: int | None = None,
        name: str = "dice_loss",
    ) -> None:
        super().__init__(
            dice,
            name=name,
            beta=beta,
            class_weights=class_weights,
            class_indexes=class_indexes,
            per_image=per_image,
            smooth=smooth,
            ignore=ignore,
        )
