"""Keras metrics that are means of scores of single images: boundary F-score and salt score."""

import math
from typing import final

import numpy as np
from keras import ops
from numpy.typing import NDArray

from maskwright.errors import wrong_argument
from maskwright.losses.arguments import check_class_count, check_ignore, check_non_negative
from maskwright.losses.base import register
from maskwright.losses.targets import Tensor
from maskwright.metrics.boundary import tolerance_in_pixels
from maskwright.metrics.keras_class_ids import read_label_ids
from maskwright.metrics.keras_mean import MeanScoreMetric
from maskwright.metrics.salt import THRESHOLDS_IN_TWENTIETHS

FOUR_NEIGHBOURS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=np.float32)


@final
@register
class BoundaryFScore(MeanScoreMetric):
    """Boundary F-score (Csurka et al., 2013), averaged for each class over images and then over classes.

    The score is defined in `maskwright.metrics.boundary_f_score`. A class that has a boundary in neither the ground
    truth nor the prediction of an image is excluded for that image.

    Args:
        classes: Number of classes, including background; 2 for a prediction with one channel.
        tolerance: Distance in pixels within which boundaries match. By default, it is 0.75 % of the image diagonal,
            which requires a static height and width.
        ignore: Label id of the pixels to exclude. Pixels whose id is not a class are also excluded.
        background: Whether class 0 is the background, which is excluded from the mean.
        threshold: Probability above which a pixel of a single-channel prediction is class 1; other pixels are class 0.
        name: Name of the metric.

    Raises:
        WrongArgument: An argument has an invalid value.

    >>> metric = BoundaryFScore(2, tolerance=1)
    >>> round(float(metric([[[0, 0, 1, 1]]], [[[[0.1], [0.1], [0.1], [0.9]]]])), 4)
    1.0
    """

    def __init__(
        self,
        classes: int,
        *,
        tolerance: float | None = None,
        ignore: int | None = None,
        background: bool = False,
        threshold: float = 0.5,
        name: str = "boundary_f_score",
    ) -> None:
        super().__init__(name=name, classes=check_class_count(classes) - background)
        self.tolerance = None if tolerance is None else check_non_negative("tolerance", tolerance)
        self.classes, self.ignore = classes, check_ignore(ignore)
        self.background, self.threshold = background, check_non_negative("threshold", threshold)

    def batch_scores(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum and the number of the scores of a batch, each with one value per scored class."""
        truth, prediction, valid = read_label_ids(
            y_true, y_pred, classes=self.classes, ignore=self.ignore, threshold=self.threshold
        )
        size = tuple(prediction.shape[1:3])
        if self.tolerance is None and None in size:
            raise wrong_argument("tolerance", None, expected="a distance in pixels for images of variable size")
        disk = _disk(tolerance_in_pixels(self.tolerance, size))
        labels = ops.arange(int(self.background), self.classes, dtype="int32")
        valid = _float32(ops.expand_dims(valid, -1))
        true_boundary = _boundary(_float32(ops.equal(ops.expand_dims(truth, -1), labels)), valid)
        predicted_boundary = _boundary(_float32(ops.equal(ops.expand_dims(prediction, -1), labels)), valid)
        precision = _covered_fraction(predicted_boundary, _dilate(true_boundary, disk))
        recall = _covered_fraction(true_boundary, _dilate(predicted_boundary, disk))
        total = precision + recall
        f_scores = 2 * precision * recall / ops.where(total > 0, total, 1.0)
        present = ops.max(true_boundary + predicted_boundary, axis=(1, 2)) > 0
        return ops.sum(f_scores, axis=0), ops.sum(_float32(present), axis=0)

    def get_config(self) -> dict[str, object]:
        """Return the configuration: the name and the arguments."""
        return {
            "name": self.name,
            "classes": self.classes,
            "tolerance": self.tolerance,
            "ignore": self.ignore,
            "background": self.background,
            "threshold": self.threshold,
        }


@final
@register
class SaltScore(MeanScoreMetric):
    """Mean of `maskwright.metrics.salt_score` over images, for a network with one output channel.

    Args:
        ignore: Label id of the pixels to exclude.
        threshold: Probability above which a pixel is predicted as salt.
        name: Name of the metric.

    Raises:
        WrongArgument: An argument has an invalid value.

    >>> round(float(SaltScore()([[[1, 1, 1, 0]]], [[[[0.9], [0.8], [0.3], [0.2]]]])), 4)  # IoU 2/3 exceeds 4 of 10
    0.4
    """

    def __init__(self, *, ignore: int | None = None, threshold: float = 0.5, name: str = "salt_score") -> None:
        super().__init__(name=name)
        self.ignore, self.threshold = check_ignore(ignore), check_non_negative("threshold", threshold)

    def batch_scores(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum of the scores of a batch and its number of images, both of shape (1,)."""
        truth, prediction, _ = read_label_ids(y_true, y_pred, classes=2, ignore=self.ignore, threshold=self.threshold)
        truth, prediction = truth > 0, prediction > 0
        true_positives, union = (
            ops.sum(ops.cast(pixels, "int32"), axis=(1, 2), keepdims=True)[..., 0]
            for pixels in (ops.logical_and(truth, prediction), ops.logical_or(truth, prediction))
        )
        thresholds = ops.convert_to_tensor(list(THRESHOLDS_IN_TWENTIETHS), dtype="int32")
        exceeded = _float32(20 * true_positives > thresholds * union)
        image_scores = ops.where(union[..., 0] == 0, 1.0, ops.mean(exceeded, axis=-1))
        return ops.reshape(ops.sum(image_scores), (1,)), ops.reshape(ops.sum(ops.ones_like(image_scores)), (1,))

    def get_config(self) -> dict[str, object]:
        """Return the configuration: the name and the arguments."""
        return {"name": self.name, "ignore": self.ignore, "threshold": self.threshold}


def _disk(radius: float) -> NDArray[np.float32]:
    """Return a (k, k) kernel that is 1 at offsets within the radius and 0 elsewhere."""
    half = math.floor(radius)
    rows, columns = np.mgrid[-half : half + 1, -half : half + 1]
    return (np.hypot(rows, columns) <= radius).astype(np.float32)


def _boundary(masks: Tensor, valid: Tensor) -> Tensor:
    return masks * valid * _dilate((1 - masks) * valid, FOUR_NEIGHBOURS)


def _dilate(masks: Tensor, kernel: NDArray[np.float32]) -> Tensor:
    """Dilate binary (n, h, w, c) masks by a convolution."""
    kernels = np.tile(kernel[..., None, None], (1, 1, masks.shape[-1], 1))
    return _float32(ops.depthwise_conv(masks, kernels, padding="same", data_format="channels_last") > 0.5)


def _covered_fraction(pixels: Tensor, cover: Tensor) -> Tensor:
    """Return the fraction (n, c) of ``pixels`` that are covered by ``cover``, or 0 without pixels."""
    return ops.sum(pixels * cover, axis=(1, 2)) / ops.maximum(ops.sum(pixels, axis=(1, 2)), 1.0)


def _float32(values: Tensor) -> Tensor:
    return ops.cast(values, "float32")
