"""The Lovász extension of the Jaccard loss (Berman et al. 2018): IoU as something with a gradient.

Errors of the pixels are sorted, largest first, and each is multiplied by what its pixel adds to the Jaccard loss when
all the pixels before it are wrong too. Truth is read as yes or no (above 0.5).

Classes in neither truth nor decided prediction are left out (see `maskwright.metrics`), with nothing left the loss is
0. A class with no true pixel for which a pixel is decided counts: it costs its largest error, and only there it learns.
"""

from typing import Unpack, final

from keras import ops

from maskwright.losses.arguments import ClassIndexes, ClassWeights, ReadOptions
from maskwright.losses.base import FunctionLoss, register
from maskwright.losses.pixel import NEAR
from maskwright.losses.soft_counts import mean_of_present, present
from maskwright.losses.targets import Pixels, Tensor, read_pixels


def lovasz_hinge(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    from_logits: bool = False,
    class_weights: ClassWeights = None,
    per_image: bool = False,
    **options: Unpack[ReadOptions],
) -> Tensor:
    """The function of `LovaszHingeLoss`, a scalar."""
    pixels = read_pixels(y_true, y_pred, threshold=0.0 if from_logits else 0.5, **options)
    logits = pixels.prediction
    if not from_logits:
        prediction = ops.clip(pixels.prediction, NEAR, 1 - NEAR)
        logits = ops.log(prediction) - ops.log(1 - prediction)
    errors = ops.relu(1 - logits * (2 * _yes(pixels.truth) - 1))
    return _mean_of_extensions(errors, pixels, class_weights=class_weights, per_image=per_image)


def lovasz_softmax(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    class_weights: ClassWeights = None,
    per_image: bool = False,
    **options: Unpack[ReadOptions],
) -> Tensor:
    """The function of `LovaszSoftmaxLoss`, a scalar."""
    pixels = read_pixels(y_true, y_pred, **options)
    errors = ops.abs(_yes(pixels.truth) - pixels.prediction)
    return _mean_of_extensions(errors, pixels, class_weights=class_weights, per_image=per_image)


def _mean_of_extensions(errors: Tensor, pixels: Pixels, *, class_weights: ClassWeights, per_image: bool) -> Tensor:
    def rows(maps: Tensor) -> Tensor:  # (images or 1, pixels, classes)
        shape = ops.shape(maps)
        return ops.reshape(maps, (shape[0] if per_image else 1, -1, shape[-1]))

    yes, known, errors = rows(_yes(pixels.truth)), rows(pixels.known), rows(errors)
    no = known * (1 - yes)
    order = ops.argsort(-errors, axis=1)
    steps = _jaccard_steps(ops.take_along_axis(yes, order, axis=1), ops.take_along_axis(no, order, axis=1))
    extensions = ops.sum(ops.take_along_axis(errors, order, axis=1) * steps, axis=1)
    mean, _ = mean_of_present(extensions, present(pixels, per_image=per_image), class_weights=class_weights)
    return mean


def _jaccard_steps(yes: Tensor, no: Tensor) -> Tensor:
    """What each pixel in turn adds to 1 - IoU, in closed form; a difference of sums would drown in rounding.

    With I pixels of the class still right and U in the union, a miss adds 1 / U and a false alarm, which makes the
    union U, adds I / (U (U - 1)); the first false alarm on an empty class adds everything. Both maps are
    (rows, pixels, classes); an ignored pixel is in neither and adds nothing.
    """
    right = ops.sum(yes, axis=1, keepdims=True) - ops.cumsum(yes, axis=1)
    union = ops.sum(yes, axis=1, keepdims=True) + ops.cumsum(no, axis=1)
    miss = yes / ops.maximum(union, 1.0)
    false_positive = ops.where(union > 1, right, 1.0) / ops.maximum(union * (union - 1), 1.0)
    return miss + no * false_positive


def _yes(truth: Tensor) -> Tensor:
    return ops.cast(truth > 0.5, "float32")


@final
@register
class LovaszHingeLoss(FunctionLoss):
    """The Lovász extension over hinge errors max(0, 1 - logit) on the class and max(0, 1 + logit) off it.

    For a sigmoid head; several channels are scored one by one. Probabilities are turned back into logits, kept within
    16 of 0; with ``from_logits`` the prediction holds logits already. The other options are those of `RegionOptions`.

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
    """The Lovász extension over the errors 1 - p on the class and p off it, the mean over classes; for a softmax head.

    Between 0 and 1 with weights of 1; it equals 1 - IoU where every probability is 0 or 1.
    The options are those of `RegionOptions`.

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
