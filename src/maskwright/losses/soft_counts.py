"""Soft counts of true_positives, false positives and false_negatives, and the mean over the classes that are there.

Classes found in neither truth nor decided prediction are left out, by the rule stated in `maskwright.metrics`.
"""

from collections.abc import Sequence
from typing import NamedTuple

from keras import ops

from maskwright.errors import wrong_argument
from maskwright.losses.targets import Pixels, Tensor

SMOOTH = 1e-5
"""Added to numerator and denominator of every ratio of counts, pixels; the reference library's value."""


class Counts(NamedTuple):
    """Soft counts of pixels, each (images, classes); one row for the whole batch unless counted per image."""

    true_positives: Tensor  # true positives
    false_positives: Tensor  # false positives
    false_negatives: Tensor  # false negatives


def soft_counts(pixels: Pixels, *, per_image: bool = False) -> Counts:
    """Count each class with the probabilities as they are, over the batch or image by image."""
    truth, prediction = pixels.truth, pixels.prediction
    return Counts(
        true_positives=count(truth * prediction, per_image=per_image),
        false_positives=count((1 - truth) * prediction, per_image=per_image),
        false_negatives=count(truth * (1 - prediction), per_image=per_image),
    )


def present(pixels: Pixels, *, per_image: bool) -> Tensor:
    """Where a class has a true pixel or one decided for it, (images, classes), or (1, classes) over the batch.

    Probabilities do not tell: those of a softmax are nowhere 0, and no class would ever be absent.
    """
    return count(pixels.truth + pixels.decided, per_image=per_image) > 0


def count(maps: Tensor, *, per_image: bool) -> Tensor:
    """The sum of (n, h, w, c) maps over their pixels: (n, c) per image, (1, c) over the batch."""
    by_image = ops.sum(maps, axis=(1, 2))
    return by_image if per_image else ops.sum(by_image, axis=0, keepdims=True)


def tversky_index(counts: Counts, *, alpha: float, beta: float, smooth: float) -> Tensor:
    """Tversky's index, true_positives / (true_positives + alpha false positives + beta false_negatives), of the shape of the counts, in [0, 1].

    IoU, F-score, precision and recall are all this index with their own alpha and beta.
    It is 1 where nothing is charged and nothing smoothed, which is also its limit for a vanishing ``smooth``.
    """
    charged = counts.true_positives + alpha * counts.false_positives + beta * counts.false_negatives + smooth
    empty = ops.equal(charged, 0.0)
    return ops.where(empty, 1.0, (counts.true_positives + smooth) / ops.where(empty, 1.0, charged))


def f_score_index(counts: Counts, *, beta: float, smooth: float) -> Tensor:
    """The F-score, in which recall weighs ``beta`` times as much as precision; ``beta=1`` is Dice's coefficient."""
    unit = 1 + beta**2
    return tversky_index(counts, alpha=1 / unit, beta=beta**2 / unit, smooth=smooth / unit)


def mean_of_present(
    values: Tensor, found: Tensor, *, class_weights: Sequence[float] | None = None
) -> tuple[Tensor, Tensor]:
    """The mean of (images, classes) values where found (`present`), and whether any is: two scalars.

    Each class is averaged over the images that have it, multiplied by its weight, and averaged over the classes
    that are there; so a class weighs the same however many images show it. Without any the mean is 0.
    """
    by_class, somewhere = _mean_where(values, found)
    return _mean_where(by_class * weights_of_classes(class_weights, int(values.shape[-1])), somewhere)


def weights_of_classes(class_weights: Sequence[float] | None, classes: int) -> Tensor:
    """One weight a class, (classes,) float32; all 1 by default.

    Raises:
        WrongArgument: There are not as many weights as (chosen) classes.
    """
    if class_weights is None:
        return ops.ones((classes,), dtype="float32")
    if len(class_weights) != classes:
        raise wrong_argument("class_weights", list(class_weights), expected=f"one weight for each of {classes} classes")
    return ops.convert_to_tensor([float(weight) for weight in class_weights], dtype="float32")


def _mean_where(values: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    number = ops.sum(ops.cast(chosen, "float32"), axis=0)
    return ops.sum(ops.where(chosen, values, 0.0), axis=0) / ops.maximum(number, 1.0), number > 0
