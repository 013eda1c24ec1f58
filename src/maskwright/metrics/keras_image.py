"""Scores of images one by one, and their mean: boundaries, and the salt challenge."""

import math
from typing import final

import numpy as np
from keras import ops
from numpy.typing import NDArray

from maskwright.errors import wrong_argument
from maskwright.losses.arguments import checked_classes, checked_id, checked_number
from maskwright.losses.base import register
from maskwright.losses.targets import Tensor
from maskwright.metrics.boundary import tolerance_in_pixels
from maskwright.metrics.keras_class_ids import read_ids
from maskwright.metrics.keras_mean import MeanOfScores
from maskwright.metrics.salt import TWENTIETHS


@final
@register
class BoundaryFScore(MeanOfScores):
    """`maskwright.metrics.boundary_f_score` of every image: each class's mean over images, then the mean of classes.

    Without a ``tolerance`` in pixels it is 0.75 % of the diagonal, for which height and width must be known.
    Where class 0 is the ``background`` it does not count. One channel is class 1 above ``threshold``.

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
        super().__init__(name=name, classes=checked_classes(classes) - background)
        self.tolerance = None if tolerance is None else checked_number("tolerance", tolerance)
        self.classes, self.ignore = classes, checked_id(ignore)
        self.background, self.threshold = background, checked_number("threshold", threshold)

    def scores(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
        """The sum of the scores of a batch and their number, each (classes that count,)."""
        truth, prediction, known = read_ids(
            y_true, y_pred, classes=self.classes, ignore=self.ignore, threshold=self.threshold
        )
        size = tuple(prediction.shape[1:3])
        if self.tolerance is None and None in size:
            raise wrong_argument("tolerance", None, expected="a distance in pixels, as images have no fixed size")
        disk = _disk(tolerance_in_pixels(self.tolerance, size))
        counted = ops.arange(int(self.background), self.classes, dtype="int32")
        known = _float32(ops.expand_dims(known, -1))
        true = _boundary(_float32(ops.equal(ops.expand_dims(truth, -1), counted)), known)
        found = _boundary(_float32(ops.equal(ops.expand_dims(prediction, -1), counted)), known)
        precision, recall = _share(found, _reached(true, disk)), _share(true, _reached(found, disk))
        both = precision + recall
        f_scores = 2 * precision * recall / ops.where(both > 0, both, 1.0)
        present = ops.max(true + found, axis=(1, 2)) > 0
        return ops.sum(f_scores, axis=0), ops.sum(_float32(present), axis=0)

    def get_config(self) -> dict[str, object]:
        """All it takes to make this metric again."""
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
class SaltScore(MeanOfScores):
    """`maskwright.metrics.salt_score` for a network with one channel: the mean over images.

    >>> round(float(SaltScore()([[[1, 1, 1, 0]]], [[[[0.9], [0.8], [0.3], [0.2]]]])), 4)  # IoU 2/3 passes 4 of 10
    0.4
    """

    def __init__(self, *, ignore: int | None = None, threshold: float = 0.5, name: str = "salt_score") -> None:
        super().__init__(name=name)
        self.ignore, self.threshold = checked_id(ignore), checked_number("threshold", threshold)

    def scores(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
        """The sum of the scores of a batch, (1,), and the number of its images, (1,)."""
        truth, prediction, _ = read_ids(y_true, y_pred, classes=2, ignore=self.ignore, threshold=self.threshold)
        truth, prediction = truth > 0, prediction > 0
        true_positives, union = (
            ops.sum(ops.cast(pixels, "int32"), axis=(1, 2), keepdims=True)[..., 0]
            for pixels in (ops.logical_and(truth, prediction), ops.logical_or(truth, prediction))
        )
        passed = 20 * true_positives > ops.convert_to_tensor(list(TWENTIETHS), dtype="int32") * union
        by_image = ops.where(union[..., 0] == 0, 1.0, ops.mean(_float32(passed), axis=-1))
        return ops.reshape(ops.sum(by_image), (1,)), ops.reshape(ops.sum(ops.ones_like(by_image)), (1,))

    def get_config(self) -> dict[str, object]:
        """All it takes to make this metric again."""
        return {"name": self.name, "ignore": self.ignore, "threshold": self.threshold}


CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=np.float32)


def _disk(reach: float) -> NDArray[np.float32]:
    """Which offsets lie within the reach, (k, k)."""
    far = math.floor(reach)
    rows, columns = np.mgrid[-far : far + 1, -far : far + 1]
    return (np.hypot(rows, columns) <= reach).astype(np.float32)


def _boundary(masks: Tensor, known: Tensor) -> Tensor:
    return masks * known * _reached((1 - masks) * known, CROSS)


def _reached(maps: Tensor, shape: NDArray[np.float32]) -> Tensor:
    """Where a pixel of the maps lies within the shape, (n, h, w, c): dilation, as a convolution of 0s and 1s."""
    kernel = np.tile(shape[..., None, None], (1, 1, maps.shape[-1], 1))
    return _float32(ops.depthwise_conv(maps, kernel, padding="same", data_format="channels_last") > 0.5)


def _share(pixels: Tensor, reached: Tensor) -> Tensor:
    """The share of the pixels that are reached, (n, c); 0 of none."""
    return ops.sum(pixels * reached, axis=(1, 2)) / ops.maximum(ops.sum(pixels, axis=(1, 2)), 1.0)


def _float32(values: Tensor) -> Tensor:
    return ops.cast(values, "float32")
