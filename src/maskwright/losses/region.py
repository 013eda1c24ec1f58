"""Losses that compare regions by their soft counts: Jaccard, Dice, Tversky, focal Tversky.

Each is 1 minus the mean over classes of a score times the class's weight, as in the reference library: weights whose
mean is 1 keep it within [0, 1], others shift it by a constant. Classes in neither truth nor decided prediction are left
out (see `maskwright.metrics`); with nothing left the loss is 0. A class with no true pixel for which a pixel is decided
is not left out: its score is about 0. Such false positives cost everything but teach almost nothing: where nothing is to
be hit, the slope is ``smooth`` over the square of the predicted pixels, and 0 once no pixel is decided. Where empty
images are common, add cross entropy.
"""

from collections.abc import Callable
from typing import TypeAlias, Unpack, final

from keras import ops

from maskwright.errors import wrong_argument
from maskwright.losses.arguments import ClassIndexes, ClassWeights, ReadOptions, RegionOptions
from maskwright.losses.base import FunctionLoss, register
from maskwright.losses.soft_counts import (
    SMOOTH,
    Counts,
    f_score_index,
    mean_of_present,
    present,
    soft_counts,
    tversky_index,
)
from maskwright.losses.targets import Pixels, Tensor, read_pixels

Score: TypeAlias = Callable[[Pixels, Counts], Tensor]
"""From pixels and their counts to a score for each (image, class), 1 at best."""


def jaccard(y_true: Tensor, y_pred: Tensor, *, smooth: float = SMOOTH, **options: Unpack[RegionOptions]) -> Tensor:
    """The function of `JaccardLoss`, a scalar."""
    return tversky(y_true, y_pred, alpha=1.0, beta=1.0, smooth=smooth, **options)


def dice(
    y_true: Tensor, y_pred: Tensor, *, beta: float = 1.0, smooth: float = SMOOTH, **options: Unpack[RegionOptions]
) -> Tensor:
    """The function of `DiceLoss`, a scalar."""
    return loss_of_score(y_true, y_pred, lambda _, counts: f_score_index(counts, beta=beta, smooth=smooth), **options)


def tversky(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    smooth: float = SMOOTH,
    **options: Unpack[RegionOptions],
) -> Tensor:
    """The function of `TverskyLoss`, a scalar."""

    def score(_: Pixels, counts: Counts) -> Tensor:
        return tversky_index(counts, alpha=alpha, beta=beta, smooth=smooth)

    return loss_of_score(y_true, y_pred, score, **options)


def focal_tversky(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    gamma: float = 4 / 3,
    smooth: float = SMOOTH,
    **options: Unpack[RegionOptions],
) -> Tensor:
    """The function of `FocalTverskyLoss`, a scalar."""

    def score(_: Pixels, counts: Counts) -> Tensor:
        lost = 1 - tversky_index(counts, alpha=alpha, beta=beta, smooth=smooth)
        # A root has an infinite slope at 0, which would poison the gradient of a class already perfect.
        some = lost > 0
        return 1 - ops.where(some, ops.power(ops.where(some, lost, 1.0), 1 / gamma), 0.0)

    return loss_of_score(y_true, y_pred, score, **options)


def loss_of_score(
    y_true: Tensor,
    y_pred: Tensor,
    score: Score,
    *,
    class_weights: ClassWeights = None,
    per_image: bool = False,
    **options: Unpack[ReadOptions],
) -> Tensor:
    """1 minus the weighted mean of a score over the classes that are there, a scalar; 0 if none is."""
    pixels = read_pixels(y_true, y_pred, **options)
    counts = soft_counts(pixels, per_image=per_image)
    mean, found = mean_of_present(
        score(pixels, counts), present(pixels, per_image=per_image), class_weights=class_weights
    )
    return ops.where(found, 1 - mean, 0.0)


@final
@register
class JaccardLoss(FunctionLoss):
    """1 - true_positives / (true_positives + false positives + false_negatives): what intersection over union lacks to 1.

    The counts are sums of probabilities, the options those of `RegionOptions`; ``smooth`` pixels are added to both
    sides of the fraction.

    >>> loss = JaccardLoss(smooth=0)
    >>> round(float(loss([[[1, 1, 0]]], [[[[1.0], [0.5], [0.5]]]])), 4)  # 1.5 true_positives, 0.5 false positives, 0.5 false_negatives
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
    """1 - F-score, which for ``beta=1`` is Dice's coefficient (Milletari et al. 2016, without their squares).

    The score is (1 + beta²) true_positives / ((1 + beta²) true_positives + beta² false_negatives + false positives); the options are those of
    `RegionOptions`, and ``smooth`` pixels are added to both sides of the fraction.

    >>> loss = DiceLoss(beta=2, smooth=0)
    >>> round(float(loss([[[1, 1, 0]]], [[[[1.0], [0.5], [0.0]]]])), 4)  # 1.5 true_positives, 0.5 false_negatives: 1 - 7.5 / 9.5
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


@final
@register
class TverskyLoss(FunctionLoss):
    """1 - true_positives / (true_positives + alpha false positives + beta false_negatives), after Salehi et al. 2017.

    ``alpha`` charges false positives and ``beta`` false_negatives, as in that paper (not so everywhere: Abraham and Khan 2018
    exchange the letters). The options are those of `RegionOptions`.

    >>> loss = TverskyLoss(alpha=0.3, beta=0.7, smooth=0)
    >>> truth, prediction = [[[1, 1, 1, 0, 0]]], [[[[1.0], [0.0], [0.0], [1.0], [0.0]]]]
    >>> round(float(loss(truth, prediction)), 4)  # 1 true positive, 1 false positive, 2 false negatives: 1 - 1 / (1 + 0.3 + 1.4)
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
    """(1 - Tversky's index) ** (1 / gamma) of each class, after Abraham and Khan 2018.

    ``gamma`` is that paper's: the exponent is its inverse, so gamma 4/3 here is written 0.75 where the exponent itself
    is called gamma. Above 1, classes already well found weigh more. ``alpha`` charges false positives and ``beta``
    false_negatives, as in `TverskyLoss`; the paper exchanges the two letters. The classes are averaged, not summed.
    The options are those of `RegionOptions`.

    >>> loss = FocalTverskyLoss(alpha=0.3, beta=0.7, gamma=2, smooth=0)
    >>> truth, prediction = [[[1, 1, 1, 0, 0]]], [[[[1.0], [0.0], [0.0], [1.0], [0.0]]]]
    >>> round(float(loss(truth, prediction)), 4)  # the square root of 1 - 1 / (1 + 0.3 + 1.4)
    0.7935

    Raises:
        WrongArgument: ``gamma`` is 0, or a number is negative.
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
