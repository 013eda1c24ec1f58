"""Tversky loss (Salehi et al., 2017) and focal Tversky loss (Abraham and Khan, 2018).

The mean over classes and the gradient on images without the class are described in `maskwright.losses.region`.
"""

from typing import final

from keras import ops

from maskwright.errors import wrong_argument
from maskwright.losses.arguments import ClassIndexes, ClassWeights
from maskwright.losses.base import FunctionLoss, register
from maskwright.losses.region import region_loss
from maskwright.losses.soft_counts import SMOOTH, SoftCounts, tversky_index
from maskwright.losses.targets import Pixels, Tensor


def tversky(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    class_weights: ClassWeights = None,
    class_indexes: ClassIndexes = None,
    per_image: bool = False,
    smooth: float = SMOOTH,
    ignore: int | None = None,
) -> Tensor:
    """Compute 1 minus the Tversky index of soft counts as a scalar; the Keras class is `TverskyLoss`.

    Args:
        y_true: Ground truth as label ids, (n, h, w) or (n, h, w, 1), or as one-hot masks, (n, h, w, c).
        y_pred: Predicted probabilities of shape (n, h, w, c).
        alpha: Weight of false positives.
        beta: Weight of false negatives.
        class_weights: Weight of each selected class, by which its score is multiplied; all weights are 1 by default.
        class_indexes: Index or indices of the channels to include; by default, all channels are included.
        per_image: Whether to average the scores of the images instead of scoring the batch as one large image.
        smooth: Number of pixels added to the numerator and denominator of each ratio.
        ignore: Label id of the pixels to exclude, which have no effect and no gradient.
    """

    def score(_: Pixels, counts: SoftCounts) -> Tensor:
        return tversky_index(counts, alpha=alpha, beta=beta, smooth=smooth)

    return region_loss(
        y_true,
        y_pred,
        score,
        class_weights=class_weights,
        class_indexes=class_indexes,
        per_image=per_image,
        ignore=ignore,
    )


def focal_tversky(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    gamma: float = 4 / 3,
    class_weights: ClassWeights = None,
    class_indexes: ClassIndexes = None,
    per_image: bool = False,
    smooth: float = SMOOTH,
    ignore: int | None = None,
) -> Tensor:
    """Compute (1 - Tversky index) ** (1 / gamma) of soft counts as a scalar; the Keras class is `FocalTverskyLoss`.

    Args:
        y_true: Ground truth as label ids, (n, h, w) or (n, h, w, 1), or as one-hot masks, (n, h, w, c).
        y_pred: Predicted probabilities of shape (n, h, w, c).
        alpha: Weight of false positives.
        beta: Weight of false negatives.
        gamma: Positive number whose inverse is the exponent.
        class_weights: Weight of each selected class, by which its score is multiplied; all weights are 1 by default.
        class_indexes: Index or indices of the channels to include; by default, all channels are included.
        per_image: Whether to average the scores of the images instead of scoring the batch as one large image.
        smooth: Number of pixels added to the numerator and denominator of each ratio.
        ignore: Label id of the pixels to exclude, which have no effect and no gradient.
    """

    def score(_: Pixels, counts: SoftCounts) -> Tensor:
        loss = 1 - tversky_index(counts, alpha=alpha, beta=beta, smooth=smooth)
        # A root has an infinite gradient at 0, which would make the gradient of a perfectly predicted class NaN.
        positive = loss > 0
        return 1 - ops.where(positive, ops.power(ops.where(positive, loss, 1.0), 1 / gamma), 0.0)

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
class TverskyLoss(FunctionLoss):
    """Tversky loss: 1 - TP / (TP + alpha FP + beta FN), with sums of probabilities as counts (Salehi et al., 2017).

    ``alpha`` weights false positives and ``beta`` weights false negatives, as in that paper; Abraham and Khan (2018)
    swap the letters. Classes that occur in neither the ground truth nor the hard prediction are excluded from the mean
    over classes. The loss accepts probabilities, not logits.

    Args:
        alpha: Weight of false positives.
        beta: Weight of false negatives.
        class_weights: Weight of each selected class, by which its score is multiplied; all weights are 1 by default.
        class_indexes: Index or indices of the channels to include; by default, all channels are included.
        per_image: Whether to average the scores of the images instead of scoring the batch as one large image.
        smooth: Number of pixels added to the numerator and denominator of each ratio.
        ignore: Label id of the pixels to exclude, which have no effect and no gradient.
        name: Name of the loss.

    Raises:
        WrongArgument: An argument has an invalid value.

    >>> loss = TverskyLoss(alpha=0.3, beta=0.7, smooth=0)
    >>> truth, prediction = [[[1, 1, 1, 0, 0]]], [[[[1.0], [0.0], [0.0], [1.0], [0.0]]]]
    >>> round(float(loss(truth, prediction)), 4)  # TP 1, FP 1, FN 2: 1 - 1 / (1 + 0.3 + 1.4)
    0.6296
    """

    def __init__(
        self,
        *,
        alpha: float = 0.3,
        beta: float = 0.7,
        class_weights: ClassWeights = None,
        class_indexes: ClassIndexes = None,
        per_image: bool = False,
        smooth: float = SMOOTH,
        ignore: int | None = None,
        name: str = "tversky_loss",
    ) -> None:
        super().__init__(
            tversky,
            name=name,
            alpha=alpha,
            beta=beta,
            class_weights=class_weights,
            class_indexes=class_indexes,
            per_image=per_image,
            smooth=smooth,
            ignore=ignore,
        )


@final
@register
class FocalTverskyLoss(FunctionLoss):
    """Focal Tversky loss: (1 - Tversky index) ** (1 / gamma) of each class (Abraham and Khan, 2018).

    ``gamma`` is defined as in that paper, so the exponent is its inverse: ``gamma=4/3`` corresponds to 0.75 in
    implementations that call the exponent gamma. Values above 1 give more weight to classes that are already predicted
    well. ``alpha`` weights false positives and ``beta`` weights false negatives, as in `TverskyLoss`; the paper swaps
    the two letters. The losses of the classes are averaged, not summed. Classes that occur in neither the ground truth
    nor the hard prediction are excluded from the mean. The loss accepts probabilities, not logits.

    Args:
        alpha: Weight of false positives.
        beta: Weight of false negatives.
        gamma: Positive number whose inverse is the exponent.
        class_weights: Weight of each selected class, by which its score is multiplied; all weights are 1 by default.
        class_indexes: Index or indices of the channels to include; by default, all channels are included.
        per_image: Whether to average the scores of the images instead of scoring the batch as one large image.
        smooth: Number of pixels added to the numerator and denominator of each ratio.
        ignore: Label id of the pixels to exclude, which have no effect and no gradient.
        name: Name of the loss.

    Raises:
        WrongArgument: ``gamma`` is not greater than 0, or another argument has an invalid value.

    >>> loss = FocalTverskyLoss(alpha=0.3, beta=0.7, gamma=2, smooth=0)
    >>> truth, prediction = [[[1, 1, 1, 0, 0]]], [[[[1.0], [0.0], [0.0], [1.0], [0.0]]]]
    >>> round(float(loss(truth, prediction)), 4)  # square root of 1 - 1 / (1 + 0.3 + 1.4)
    0.7935
    """

    def __init__(
        self,
        *,
        alpha: float = 0.3,
        beta: float = 0.7,
        gamma: float = 4 / 3,
        class_weights: ClassWeights = None,
        class_indexes: ClassIndexes = None,
        per_image: bool = False,
        smooth: float = SMOOTH,
        ignore: int | None = None,
        name: str = "focal_tversky_loss",
    ) -> None:
        if gamma == 0:
            raise wrong_argument("gamma", gamma, expected="a number above 0")
        super().__init__(
            focal_tversky,
            name=name,
            alpha=alpha,
            beta=beta,
            gamma=gamma,
            class_weights=class_weights,
            class_indexes=class_indexes,
            per_image=per_image,
            smooth=smooth,
            ignore=ignore,
        )
