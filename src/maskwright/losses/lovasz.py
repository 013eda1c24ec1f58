"""Lovász extension of the Jaccard loss: a surrogate of IoU with a useful gradient (Berman et al., 2018).

Pixel errors are sorted in descending order, and each error is multiplied by the increase in the Jaccard loss when its
pixel is added to the misclassified pixels. The ground truth is binarised at 0.5.

Classes that occur in neither the ground truth nor the hard prediction are excluded (see `maskwright.metrics`); if no
class is left, the loss is 0. For a class that is predicted but not in the ground truth, the loss is the largest error
of a pixel, and only that pixel has a gradient.
"""

from typing import final

from keras import ops

from maskwright.losses.absent_classes import present_classes, weighted_mean_over_present
from maskwright.losses.arguments import ClassIndexes, ClassWeights
from maskwright.losses.base import FunctionLoss, register
from maskwright.losses.pixelwise import clip_probabilities
from maskwright.losses.targets import Pixels, Tensor, read_pixels


def lovasz_hinge(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    from_logits: bool = False,
    class_weights: ClassWeights = None,
    class_indexes: ClassIndexes = None,
    per_image: bool = False,
    ignore: int | None = None,
) -> Tensor:
    """Compute the Lovász hinge loss as a scalar; the Keras class is `LovaszHingeLoss`.

    Args:
        y_true: Ground truth as label ids, (n, h, w) or (n, h, w, 1), or as one-hot masks, (n, h, w, c).
        y_pred: Predicted sigmoid probabilities of shape (n, h, w, c), or logits if ``from_logits`` is true.
        from_logits: Whether ``y_pred`` contains logits.
        class_weights: Weight of each selected class, by which its loss is multiplied; all weights are 1 by default.
        class_indexes: Index or indices of the channels to include; by default, all channels are included.
        per_image: Whether to average the losses of the images instead of treating the batch as one large image.
        ignore: Label id of the pixels to exclude, which have no effect and no gradient.
    """
    threshold = 0.0 if from_logits else 0.5
    pixels = read_pixels(y_true, y_pred, class_indexes=class_indexes, ignore=ignore, threshold=threshold)
    logits = pixels.prediction
    if not from_logits:
        probabilities = clip_probabilities(pixels.prediction)
        logits = ops.log(probabilities) - ops.log(1 - probabilities)
    errors = ops.relu(1 - logits * (2 * _binarise(pixels.truth) - 1))
    return _mean_extension(errors, pixels, class_weights=class_weights, per_image=per_image)


def lovasz_softmax(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    class_weights: ClassWeights = None,
    class_indexes: ClassIndexes = None,
    per_image: bool = False,
    ignore: int | None = None,
) -> Tensor:
    """Compute the Lovász softmax loss as a scalar; the Keras class is `LovaszSoftmaxLoss`.

    Args:
        y_true: Ground truth as label ids, (n, h, w) or (n, h, w, 1), or as one-hot masks, (n, h, w, c).
        y_pred: Predicted probabilities of shape (n, h, w, c).
        class_weights: Weight of each selected class, by which its loss is multiplied; all weights are 1 by default.
        class_indexes: Index or indices of the channels to include; by default, all channels are included.
        per_image: Whether to average the losses of the images instead of treating the batch as one large image.
        ignore: Label id of the pixels to exclude, which have no effect and no gradient.
    """
    pixels = read_pixels(y_true, y_pred, class_indexes=class_indexes, ignore=ignore)
    errors = ops.abs(_binarise(pixels.truth) - pixels.prediction)
    return _mean_extension(errors, pixels, class_weights=class_weights, per_image=per_image)


def _mean_extension(errors: Tensor, pixels: Pixels, *, class_weights: ClassWeights, per_image: bool) -> Tensor:
    def flatten(maps: Tensor) -> Tensor:  # (images or 1, pixels, classes)
        shape = ops.shape(maps)
        return ops.reshape(maps, (shape[0] if per_image else 1, -1, shape[-1]))

    positives, valid, errors = flatten(_binarise(pixels.truth)), flatten(pixels.valid), flatten(errors)
    negatives = valid * (1 - positives)
    order = ops.argsort(-errors, axis=1)
    increments = _jaccard_increments(
        ops.take_along_axis(positives, order, axis=1), ops.take_along_axis(negatives, order, axis=1)
    )
    extensions = ops.sum(ops.take_along_axis(errors, order, axis=1) * increments, axis=1)
    present = present_classes(pixels, per_image=per_image)
    mean, _ = weighted_mean_over_present(extensions, present, class_weights=class_weights)
    return mean


def _jaccard_increments(positives: Tensor, negatives: Tensor) -> Tensor:
    """Return the increase of 1 - IoU at each pixel in turn, in closed form because a difference of sums is imprecise.

    If I pixels of the class are still correct and the union contains U pixels, a false negative adds 1 / U. A false
    positive, which increases the union to U, adds I / (U (U - 1)); the first false positive of an empty class adds 1.
    Both arguments have the shape (images or 1, pixels, classes); an ignored pixel is 0 in both and adds nothing.
    """
    correct = ops.sum(positives, axis=1, keepdims=True) - ops.cumsum(positives, axis=1)
    union = ops.sum(positives, axis=1, keepdims=True) + ops.cumsum(negatives, axis=1)
    at_positives = positives / ops.maximum(union, 1.0)
    at_negatives = ops.where(union > 1, correct, 1.0) / ops.maximum(union * (union - 1), 1.0)
    return at_positives + negatives * at_negatives


def _binarise(truth: Tensor) -> Tensor:
    return ops.cast(truth > 0.5, "float32")


@final
@register
class LovaszHingeLoss(FunctionLoss):
    """Lovász hinge loss: errors are max(0, 1 - logit) for pixels of the class and max(0, 1 + logit) for all others.

    Use this loss with a sigmoid activation, or without an activation and with ``from_logits=True``. Channels are scored
    independently. Probabilities are converted to logits, which are then limited to about [-16, 16]. Classes that occur
    in neither the ground truth nor the hard prediction are excluded from the mean over classes.

    Args:
        from_logits: Whether ``y_pred`` contains logits instead of probabilities.
        class_weights: Weight of each selected class, by which its loss is multiplied; all weights are 1 by default.
        class_indexes: Index or indices of the channels to include; by default, all channels are included.
        per_image: Whether to average the losses of the images instead of treating the batch as one large image.
        ignore: Label id of the pixels to exclude, which have no effect and no gradient.
        name: Name of the loss.

    Raises:
        WrongArgument: An argument has an invalid value.

    >>> loss = LovaszHingeLoss(from_logits=True)
    >>> float(loss([[[1, 1, 0]]], [[[[2.0], [-1.0], [0.5]]]]))  # errors 0, 2, 1.5: 2 * 1/2 + 1.5 * 1/(3 * 2)
    1.25
    """

    def __init__(
        self,
        *,
        from_logits: bool = False,
        class_weights: ClassWeights = None,
        class_indexes: ClassIndexes = None,
        per_image: bool = False,
        ignore: int | None = None,
        name: str = "lovasz_hinge_loss",
    ) -> None:
        super().__init__(
            lovasz_hinge,
            name=name,
            from_logits=from_logits,
            class_weights=class_weights,
            class_indexes=class_indexes,
            per_image=per_image,
            ignore=ignore,
        )


@final
@register
class LovaszSoftmaxLoss(FunctionLoss):
    """Lovász softmax loss: errors are 1 - p for pixels of the class and p for all others.

    Use this loss with a softmax activation; it accepts probabilities, not logits. With class weights of 1, the value is
    in [0, 1], and it equals 1 - IoU if every probability is 0 or 1. Classes that occur in neither the ground truth nor
    the hard prediction are excluded from the mean over classes.

    Args:
        class_weights: Weight of each selected class, by which its loss is multiplied; all weights are 1 by default.
        class_indexes: Index or indices of the channels to include; by default, all channels are included.
        per_image: Whether to average the losses of the images instead of treating the batch as one large image.
        ignore: Label id of the pixels to exclude, which have no effect and no gradient.
        name: Name of the loss.

    Raises:
        WrongArgument: An argument has an invalid value.

    >>> loss = LovaszSoftmaxLoss(class_indexes=1)
    >>> truth, prediction = [[[1, 1, 0]]], [[[[0, 1], [1, 0], [0.5, 0.5]]]]
    >>> round(float(loss(truth, prediction)), 4)  # errors 0, 1, 0.5: 1 * 1/2 + 0.5 * 1/(3 * 2)
    0.5833
    """

    def __init__(
        self,
        *,
        class_weights: ClassWeights = None,
        class_indexes: ClassIndexes = None,
        per_image: bool = False,
        ignore: int | None = None,
        name: str = "lovasz_softmax_loss",
    ) -> None:
        super().__init__(
            lovasz_softmax,
            name=name,
            class_weights=class_weights,
            class_indexes=class_indexes,
            per_image=per_image,
            ignore=ignore,
        )
