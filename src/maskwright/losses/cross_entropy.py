"""Binary and categorical cross entropy.

Each loss is the mean, over valid pixels and selected classes, of a cost times the class weight; without valid pixels,
it is 0. Probabilities are clipped to [1e-7, 1 - 1e-7]; logits are not clipped.
"""

from typing import final

from keras import ops

from maskwright.losses.arguments import ClassIndexes, ClassWeights
from maskwright.losses.base import FunctionLoss, register
from maskwright.losses.pixelwise import EPSILON, check_several_channels, clip_probabilities, mean_over_pixels
from maskwright.losses.targets import Tensor, read_pixels


def binary_cross_entropy(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    from_logits: bool = False,
    class_weights: ClassWeights = None,
    class_indexes: ClassIndexes = None,
    ignore: int | None = None,
) -> Tensor:
    """Compute the cross entropy of independent channels as a scalar; the Keras class is `BinaryCELoss`.

    Args:
        y_true: Ground truth as label ids, (n, h, w) or (n, h, w, 1), or as one-hot masks, (n, h, w, c).
        y_pred: Predicted sigmoid probabilities of shape (n, h, w, c), or logits if ``from_logits`` is true.
        from_logits: Whether ``y_pred`` contains logits.
        class_weights: Weight of each selected class, by which its costs are multiplied; all weights are 1 by default.
        class_indexes: Index or indices of the channels to include; by default, all channels are included.
        ignore: Label id of the pixels to exclude, which have no cost and no gradient.
    """
    pixels = read_pixels(y_true, y_pred, class_indexes=class_indexes, ignore=ignore)
    if from_logits:
        positive_costs, negative_costs = ops.softplus(-pixels.prediction), ops.softplus(pixels.prediction)
    else:
        probabilities = clip_probabilities(pixels.prediction)
        positive_costs, negative_costs = -ops.log(probabilities), -ops.log(1 - probabilities)
    costs = pixels.truth * positive_costs + (1 - pixels.truth) * negative_costs
    return mean_over_pixels(costs, pixels, class_weights)


def categorical_cross_entropy(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    from_logits: bool = False,
    class_weights: ClassWeights = None,
    class_indexes: ClassIndexes = None,
    ignore: int | None = None,
) -> Tensor:
    """Compute the cross entropy of mutually exclusive classes as a scalar; the Keras class is `CategoricalCELoss`.

    Args:
        y_true: Ground truth as label ids, (n, h, w) or (n, h, w, 1), or as one-hot masks, (n, h, w, c).
        y_pred: Predicted softmax probabilities of shape (n, h, w, c), or logits if ``from_logits`` is true.
        from_logits: Whether ``y_pred`` contains logits.
        class_weights: Weight of each selected class, by which its costs are multiplied; all weights are 1 by default.
        class_indexes: Indices of at least two channels to include; by default, all channels are included.
        ignore: Label id of the pixels to exclude, which have no cost and no gradient.

    Raises:
        SingleChannel: Fewer than two classes are selected.
    """
    pixels = read_pixels(y_true, y_pred, class_indexes=class_indexes, ignore=ignore)
    check_several_channels(pixels.prediction, loss="CategoricalCELoss", instead="BinaryCELoss")
    if from_logits:
        log_probabilities = ops.log_softmax(pixels.prediction, axis=-1)
    else:
        total = ops.sum(pixels.prediction, axis=-1, keepdims=True)
        log_probabilities = ops.log(clip_probabilities(pixels.prediction / ops.maximum(total, EPSILON)))
    return mean_over_pixels(-pixels.truth * log_probabilities, pixels, class_weights)


@final
@register
class BinaryCELoss(FunctionLoss):
    """Binary cross entropy: -log(p) for pixels of the class and -log(1 - p) for all others.

    Here, p is the predicted probability of the class. Use this loss with a sigmoid activation. With several channels,
    classes may overlap. The loss is the mean over valid pixels and channels.

    Args:
        from_logits: Whether ``y_pred`` contains logits instead of probabilities. Logits are numerically more stable.
        class_weights: Weight of each selected class, by which its costs are multiplied; all weights are 1 by default.
        class_indexes: Index or indices of the channels to include; by default, all channels are included.
        ignore: Label id of the pixels to exclude, which have no cost and no gradient.
        name: Name of the loss.

    Raises:
        WrongArgument: An argument has an invalid value.

    >>> round(float(BinaryCELoss()([[[1, 0]]], [[[[0.5], [0.2]]]])), 4)  # mean of -log(0.5) and -log(0.8)
    0.4581
    """

    def __init__(
        self,
        *,
        from_logits: bool = False,
        class_weights: ClassWeights = None,
        class_indexes: ClassIndexes = None,
        ignore: int | None = None,
        name: str = "binary_crossentropy",
    ) -> None:
        super().__init__(
            binary_cross_entropy,
            name=name,
            from_logits=from_logits,
            class_weights=class_weights,
            class_indexes=class_indexes,
            ignore=ignore,
        )


@final
@register
class CategoricalCELoss(FunctionLoss):
    """Categorical cross entropy: -log(p), where p is the predicted probability of the true class.

    Use this loss with a softmax activation. Probabilities are first divided by their sum over the selected classes. The
    loss is the mean over valid pixels and classes, as in segmentation_models: for c classes, its value is 1/c times
    that of `keras.losses.CategoricalCrossentropy`. With ``class_indexes``, a pixel of a class that is not selected has
    no cost.

    Args:
        class_weights: Weight of each selected class, by which its costs are multiplied; all weights are 1 by default.
        class_indexes: Indices of at least two channels to include; by default, all channels are included.
        from_logits: Whether ``y_pred`` contains logits instead of probabilities. Logits are numerically more stable.
        ignore: Label id of the pixels to exclude, which have no cost and no gradient.
        name: Name of the loss.

    Raises:
        WrongArgument: An argument has an invalid value.
        SingleChannel: Fewer than two classes are selected; raised when the loss is called.

    >>> round(float(CategoricalCELoss()([[[1]]], [[[[0.2, 0.5, 0.3]]]])), 4)  # -log(0.5) / 3
    0.231
    """

    def __init__(
        self,
        class_weights: ClassWeights = None,
        class_indexes: ClassIndexes = None,
        *,
        from_logits: bool = False,
        ignore: int | None = None,
        name: str = "categorical_crossentropy",
    ) -> None:
        super().__init__(
            categorical_cross_entropy,
            name=name,
            from_logits=from_logits,
            class_weights=class_weights,
            class_indexes=class_indexes,
            ignore=ignore,
        )
