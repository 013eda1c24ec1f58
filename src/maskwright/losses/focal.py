"""Binary and categorical focal loss (Lin et al., 2017).

Each loss is the mean, over valid pixels and selected classes, of a cost times the class weight; without valid pixels,
it is 0. Probabilities are clipped to [1e-7, 1 - 1e-7]; logits are not clipped.
"""

from typing import final

from keras import ops

from maskwright.losses.arguments import ClassIndexes, ClassWeights
from maskwright.losses.base import FunctionLoss, register
from maskwright.losses.pixelwise import EPSILON, check_several_channels, clip_probabilities, mean_over_pixels
from maskwright.losses.targets import Tensor, read_pixels, select_classes


def binary_focal(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    class_weights: ClassWeights = None,
    class_indexes: ClassIndexes = None,
    ignore: int | None = None,
) -> Tensor:
    """Compute the focal loss of independent channels as a scalar; the Keras class is `BinaryFocalLoss`.

    Args:
        y_true: Ground truth as label ids, (n, h, w) or (n, h, w, 1), or as one-hot masks, (n, h, w, c).
        y_pred: Predicted sigmoid probabilities of shape (n, h, w, c), or logits if ``from_logits`` is true.
        alpha: Weight of the pixels of the class; all other pixels have the weight 1 - alpha.
        gamma: Focusing exponent, at least 0; with 0, the loss is weighted cross entropy.
        from_logits: Whether ``y_pred`` contains logits.
        class_weights: Weight of each selected class, by which its costs are multiplied; all weights are 1 by default.
        class_indexes: Index or indices of the channels to include; by default, all channels are included.
        ignore: Label id of the pixels to exclude, which have no cost and no gradient.
    """
    pixels = read_pixels(y_true, y_pred, class_indexes=class_indexes, ignore=ignore)
    if from_logits:
        positive_costs, negative_costs = ops.softplus(-pixels.prediction), ops.softplus(pixels.prediction)
        # 1 - p is exp(-negative_costs). This form has a finite gradient for gamma < 1 even where 1 - p underflows.
        positive_factors, negative_factors = ops.exp(-gamma * negative_costs), ops.exp(-gamma * positive_costs)
    else:
        probabilities = clip_probabilities(pixels.prediction)
        positive_costs, negative_costs = -ops.log(probabilities), -ops.log(1 - probabilities)
        positive_factors, negative_factors = ops.power(1 - probabilities, gamma), ops.power(probabilities, gamma)
    positives = pixels.truth * alpha * positive_factors * positive_costs
    negatives = (1 - pixels.truth) * (1 - alpha) * negative_factors * negative_costs
    return mean_over_pixels(positives + negatives, pixels, class_weights)


def categorical_focal(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    class_weights: ClassWeights = None,
    class_indexes: ClassIndexes = None,
    ignore: int | None = None,
) -> Tensor:
    """Compute the focal loss of mutually exclusive classes as a scalar; the Keras class is `CategoricalFocalLoss`.

    Args:
        y_true: Ground truth as label ids, (n, h, w) or (n, h, w, 1), or as one-hot masks, (n, h, w, c).
        y_pred: Predicted softmax probabilities of shape (n, h, w, c), or logits if ``from_logits`` is true. The softmax
            includes all channels.
        alpha: Factor by which the loss is multiplied, at least 0.
        gamma: Focusing exponent, at least 0; with 0, the loss is cross entropy.
        from_logits: Whether ``y_pred`` contains logits.
        class_weights: Weight of each selected class, by which its costs are multiplied; all weights are 1 by default.
        class_indexes: Indices of at least two channels to include; by default, all channels are included.
        ignore: Label id of the pixels to exclude, which have no cost and no gradient.

    Raises:
        SingleChannel: Fewer than two classes are selected.
    """
    pixels = read_pixels(y_true, y_pred, ignore=ignore)
    if from_logits:
        pixels = pixels._replace(prediction=ops.log_softmax(pixels.prediction, axis=-1))
    pixels = select_classes(pixels, class_indexes)
    check_several_channels(pixels.prediction, loss="CategoricalFocalLoss", instead="BinaryFocalLoss")
    if from_logits:
        log_probabilities = pixels.prediction
        # A power with an exponent below 1 has an infinite gradient at 0.
        complements = ops.maximum(-ops.expm1(log_probabilities), EPSILON)
    else:
        probabilities = clip_probabilities(pixels.prediction)
        log_probabilities, complements = ops.log(probabilities), 1 - probabilities
    costs = -pixels.truth * alpha * ops.power(complements, gamma) * log_probabilities
    return mean_over_pixels(costs, pixels, class_weights)


@final
@register
class BinaryFocalLoss(FunctionLoss):
    """Focal loss for a sigmoid activation: cross entropy with less weight on well-classified pixels (Lin et al., 2017).

    The cost of a pixel of the class is -alpha (1 - p)^gamma log(p), and that of any other pixel is -(1 - alpha) p^gamma
    log(1 - p), where p is the predicted probability of the class. The loss is the mean over valid pixels and channels.

    Args:
        alpha: Weight of the pixels of the class; all other pixels have the weight 1 - alpha.
        gamma: Focusing exponent, at least 0; with 0, the loss is weighted cross entropy.
        from_logits: Whether ``y_pred`` contains logits instead of probabilities. Logits are numerically more stable.
        class_weights: Weight of each selected class, by which its costs are multiplied; all weights are 1 by default.
        class_indexes: Index or indices of the channels to include; by default, all channels are included.
        ignore: Label id of the pixels to exclude, which have no cost and no gradient.
        name: Name of the loss.

    Raises:
        WrongArgument: An argument has an invalid value.

    >>> round(float(BinaryFocalLoss(alpha=0.25, gamma=2)([[[1]]], [[[[0.5]]]])), 4)  # 0.25 * 0.5^2 * log(2)
    0.0433
    """

    def __init__(
        self,
        alpha: float = 0.25,
        gamma: float = 2.0,
        *,
        from_logits: bool = False,
        class_weights: ClassWeights = None,
        class_indexes: ClassIndexes = None,
        ignore: int | None = None,
        name: str = "binary_focal_loss",
    ) -> None:
        super().__init__(
            binary_focal,
            name=name,
            alpha=alpha,
            gamma=gamma,
            from_logits=from_logits,
            class_weights=class_weights,
            class_indexes=class_indexes,
            ignore=ignore,
        )


@final
@register
class CategoricalFocalLoss(FunctionLoss):
    """Focal loss for a softmax activation: -alpha (1 - p)^gamma log(p) for the true class (based on Lin et al., 2017).

    Here, p is the predicted probability of the true class. The loss is the mean over valid pixels and classes. Unlike
    `CategoricalCELoss`, it does not renormalise the probabilities over the selected classes.

    Args:
        alpha: Factor by which the loss is multiplied, at least 0.
        gamma: Focusing exponent, at least 0; with 0, the loss is cross entropy.
        from_logits: Whether ``y_pred`` contains logits instead of probabilities. Logits are numerically more stable.
        class_weights: Weight of each selected class, by which its costs are multiplied; all weights are 1 by default.
        class_indexes: Indices of at least two channels to include; by default, all channels are included.
        ignore: Label id of the pixels to exclude, which have no cost and no gradient.
        name: Name of the loss.

    Raises:
        WrongArgument: An argument has an invalid value.
        SingleChannel: Fewer than two classes are selected; raised when the loss is called.

    >>> round(float(CategoricalFocalLoss(gamma=1)([[[1]]], [[[[0.5, 0.5]]]])), 4)  # 0.25 * 0.5 * log(2) / 2
    0.0433
    """

    def __init__(
        self,
        alpha: float = 0.25,
        gamma: float = 2.0,
        *,
        from_logits: bool = False,
        class_weights: ClassWeights = None,
        class_indexes: ClassIndexes = None,
        ignore: int | None = None,
        name: str = "focal_loss",
    ) -> None:
        super().__init__(
            categorical_focal,
            name=name,
            alpha=alpha,
            gamma=gamma,
            from_logits=from_logits,
            class_weights=class_weights,
            class_indexes=class_indexes,
            ignore=ignore,
        )
