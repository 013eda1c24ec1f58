"""Rule by which losses and Keras metrics exclude a class in neither the ground truth nor the hard prediction.

The rule is described in `maskwright.metrics` and implemented for NumPy in `maskwright.metrics.absent_classes`.
"""

from collections.abc import Sequence

from keras import ops

from maskwright.losses.soft_counts import class_weight_tensor, sum_over_pixels
from maskwright.losses.targets import Pixels, Tensor


def present_classes(pixels: Pixels, *, per_image: bool) -> Tensor:
    """Return whether each class is in the ground truth or hard prediction, as bool (images, classes) or (1, classes).

    Presence is not inferred from probabilities because a softmax is positive everywhere, so every class would be
    present.
    """
    return sum_over_pixels(pixels.truth + pixels.hard_prediction, per_image=per_image) > 0


def weighted_mean_over_present(
    values: Tensor, present: Tensor, *, class_weights: Sequence[float] | None = None
) -> tuple[Tensor, Tensor]:
    """Return the mean of the (images, classes) values of present classes, and whether any class is present, as scalars.

    Each class is averaged over the images in which it is present and multiplied by its weight; the result is the mean
    over the classes. The influence of a class therefore does not depend on how many images contain it. Without any
    present class, the mean is 0.
    """
    class_means, class_present = _masked_mean(values, present)
    return _masked_mean(class_means * class_weight_tensor(class_weights, int(values.shape[-1])), class_present)


def _masked_mean(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    count = ops.sum(ops.cast(mask, "float32"), axis=0)
    return ops.sum(ops.where(mask, values, 0.0), axis=0) / ops.maximum(count, 1.0), count > 0
