"""Soft counts of true positives, false positives and false negatives, and indices computed from them."""

from collections.abc import Sequence
from typing import NamedTuple

from keras import ops

from maskwright.errors import wrong_argument
from maskwright.losses.targets import Pixels, Tensor

SMOOTH = 1e-5
"""Number of pixels added to the numerator and denominator of every ratio of counts, as in segmentation_models."""


class SoftCounts(NamedTuple):
    """Sums of probabilities over pixels, each of shape (images, classes), or (1, classes) for the whole batch."""

    true_positives: Tensor
    false_positives: Tensor
    false_negatives: Tensor


def soft_counts(pixels: Pixels, *, per_image: bool = False) -> SoftCounts:
    """Count the pixels of each class over the batch or per image, with probabilities as fractions of a pixel."""
    truth, prediction = pixels.truth, pixels.prediction
    return SoftCounts(
        true_positives=sum_over_pixels(truth * prediction, per_image=per_image),
        false_positives=sum_over_pixels((1 - truth) * prediction, per_image=per_image),
        false_negatives=sum_over_pixels(truth * (1 - prediction), per_image=per_image),
    )


def sum_over_pixels(maps: Tensor, *, per_image: bool) -> Tensor:
    """Return the sums of (n, h, w, c) maps over pixels: (n, c) per image, or (1, c) over the batch."""
    image_sums = ops.sum(maps, axis=(1, 2))
    return image_sums if per_image else ops.sum(image_sums, axis=0, keepdims=True)


def tversky_index(counts: SoftCounts, *, alpha: float, beta: float, smooth: float) -> Tensor:
    """Return TP / (TP + alpha FP + beta FN), a value in [0, 1] for each entry of the counts.

    IoU, F-score, precision and recall are Tversky indices with different ``alpha`` and ``beta``. Where the denominator
    is 0, the index is 1, which is its limit as ``smooth`` approaches 0.
    """
    denominator = counts.true_positives + alpha * counts.false_positives + beta * counts.false_negatives + smooth
    is_zero = ops.equal(denominator, 0.0)
    return ops.where(is_zero, 1.0, (counts.true_positives + smooth) / ops.where(is_zero, 1.0, denominator))


def f_score_index(counts: SoftCounts, *, beta: float, smooth: float) -> Tensor:
    """Return the F-score, which weights recall ``beta`` times as much as precision; ``beta=1`` is the Dice score."""
    total = 1 + beta**2
    return tversky_index(counts, alpha=1 / total, beta=beta**2 / total, smooth=smooth / total)


def class_weight_tensor(class_weights: Sequence[float] | None, classes: int) -> Tensor:
    """Return one weight per class as float32 (classes,); for None, all weights are 1.

    Raises:
        WrongArgument: The number of weights differs from the number of selected classes.
    """
    if class_weights is None:
        return ops.ones((classes,), dtype="float32")
    if len(class_weights) != classes:
        raise wrong_argument("class_weights", list(class_weights), expected=f"one weight for each of {classes} classes")
    return ops.convert_to_tensor([float(weight) for weight in class_weights], dtype="float32")
