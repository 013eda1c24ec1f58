"""Keras metrics named as in segmentation_models: IoU, F-score, precision and recall as means over batches.

The value is the mean of the scores of the batches, so it depends on the batch size. Report `maskwright.metrics.MeanIoU`
instead, which is computed over the whole data set. Without a threshold, the counts are sums of probabilities. A batch
in which every class is absent by the rule of `maskwright.metrics` is excluded.
"""

from abc import abstractmethod
from typing import final

from keras import ops

from maskwright.losses.absent_classes import present_classes, weighted_mean_over_present
from maskwright.losses.arguments import (
    ClassIndexes,
    ClassWeights,
    check_class_indexes,
    check_class_weights,
    check_ignore,
    check_non_negative,
)
from maskwright.losses.base import register
from maskwright.losses.soft_counts import SMOOTH, SoftCounts, f_score_index, soft_counts, tversky_index
from maskwright.losses.targets import Tensor, read_pixels
from maskwright.metrics.keras_mean import MeanScoreMetric


class BatchScore(MeanScoreMetric):
    """Base class of scores that are ratios of counts, averaged over batches.

    Args:
        class_weights: Weight of each selected class, by which its score is multiplied; all weights are 1 by default.
        class_indexes: Index or indices of the channels to include; by default, all channels are included.
        threshold: Value above which a probability counts as 1 and otherwise as 0; by default, there is no threshold.
        per_image: Whether to average the scores of the images instead of scoring the batch as one large image.
        smooth: Number of pixels added to the numerator and denominator of each ratio.
        ignore: Label id of the pixels to exclude.
        name: Name of the metric.

    Raises:
        WrongArgument: An argument has an invalid value.
    """

    default_name: str

    def __init__(
        self,
        class_weights: ClassWeights = None,
        class_indexes: ClassIndexes = None,
        *,
        threshold: float | None = None,
        per_image: bool = False,
        smooth: float = SMOOTH,
        ignore: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name or self.default_name)
        self.class_weights = check_class_weights(class_weights)
        self.class_indexes = check_class_indexes(class_indexes)
        self.threshold = None if threshold is None else check_non_negative("threshold", threshold)
        self.per_image = per_image
        self.smooth = check_non_negative("smooth", smooth)
        self.ignore = check_ignore(ignore)

    @abstractmethod
    def index(self, counts: SoftCounts) -> Tensor:
        """Return the score of each image and class."""

    def batch_scores(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
        """Return the score of a batch and whether it is defined, both of shape (1,)."""
        pixels = read_pixels(y_true, y_pred, ignore=self.ignore, class_indexes=self.class_indexes)
        if self.threshold is not None:
            hard = ops.cast(pixels.prediction > self.threshold, "float32")
            pixels = pixels._replace(prediction=hard, hard_prediction=hard)
        scores = self.index(soft_counts(pixels, per_image=self.per_image))
        present = present_classes(pixels, per_image=self.per_image)
        mean, defined = weighted_mean_over_present(scores, present, class_weights=self.class_weights)
        return ops.reshape(mean, (1,)), ops.reshape(defined, (1,))

    def get_config(self) -> dict[str, object]:
        """Return the configuration: the name and the arguments."""
        return {
            "name": self.name,
            "class_weights": self.class_weights,
            "class_indexes": self.class_indexes,
            "threshold": self.threshold,
            "per_image": self.per_image,
            "smooth": self.smooth,
            "ignore": self.ignore,
        }


@final
@register
class IOUScore(BatchScore):
    """Intersection over union, TP / (TP + FP + FN), as a mean over batches.

    Classes that occur in neither the ground truth nor the hard prediction are excluded from the mean over classes.

    Args:
        class_weights: Weight of each selected class, by which its score is multiplied; all weights are 1 by default.
        class_indexes: Index or indices of the channels to include; by default, all channels are included.
        threshold: Value above which a probability counts as 1 and otherwise as 0; by default, there is no threshold.
        per_image: Whether to average the scores of the images instead of scoring the batch as one large image.
        smooth: Number of pixels added to the numerator and denominator of each ratio.
        ignore: Label id of the pixels to exclude.
        name: Name of the metric, ``iou_score`` by default.

    Raises:
        WrongArgument: An argument has an invalid value.

    >>> round(float(IOUScore(threshold=0.5)([[[1, 1, 0]]], [[[[0.9], [0.2], [0.4]]]])), 4)
    0.5
    """

    default_name = "iou_score"

    def index(self, counts: SoftCounts) -> Tensor:
        """Return the IoU of each image and class."""
        return tversky_index(counts, alpha=1.0, beta=1.0, smooth=self.smooth)


@final
@register
class FScore(BatchScore):
    """F-score, (1 + beta²) TP / ((1 + beta²) TP + beta² FN + FP), as a mean over batches.

    Classes that occur in neither the ground truth nor the hard prediction are excluded from the mean over classes.

    Args:
        beta: Weight of recall relative to precision; with 1, the score is the Dice score.
        class_weights: Weight of each selected class, by which its score is multiplied; all weights are 1 by default.
        class_indexes: Index or indices of the channels to include; by default, all channels are included.
        threshold: Value above which a probability counts as 1 and otherwise as 0; by default, there is no threshold.
        per_image: Whether to average the scores of the images instead of scoring the batch as one large image.
        smooth: Number of pixels added to the numerator and denominator of each ratio.
        ignore: Label id of the pixels to exclude.
        name: Name of the metric, ``f<beta>-score`` by default.

    Raises:
        WrongArgument: An argument has an invalid value.

    >>> round(float(FScore(beta=2, threshold=0.5)([[[1, 1, 0]]], [[[[0.9], [0.2], [0.4]]]])), 4)  # 5 / (5 + 4)
    0.5556
    """

    def __init__(
        self,
        beta: float = 1,
        class_weights: ClassWeights = None,
        *,
        class_indexes: ClassIndexes = None,
        threshold: float | None = None,
        per_image: bool = False,
        smooth: float = SMOOTH,
        ignore: int | None = None,
        name: str | None = None,
    ) -> None:
        beta = check_non_negative("beta", beta)
        super().__init__(
            class_weights,
            class_indexes,
            threshold=threshold,
            per_image=per_image,
            smooth=smooth,
            ignore=ignore,
            name=name or f"f{beta:g}-score",
        )
        self.beta = beta

    def index(self, counts: SoftCounts) -> Tensor:
        """Return the F-score of each image and class."""
        return f_score_index(counts, beta=self.beta, smooth=self.smooth)

    def get_config(self) -> dict[str, object]:
        """Return the configuration: the name and the arguments."""
        return {**super().get_config(), "beta": self.beta}


@final
@register
class Precision(BatchScore):
    """Precision, TP / (TP + FP), as a mean over batches.

    Classes that occur in neither the ground truth nor the hard prediction are excluded from the mean over classes. A
    class in the ground truth that is not predicted anywhere has precision 1, because it has no false positive (in
    `Scores`, its precision is None).

    Args:
        class_weights: Weight of each selected class, by which its score is multiplied; all weights are 1 by default.
        class_indexes: Index or indices of the channels to include; by default, all channels are included.
        threshold: Value above which a probability counts as 1 and otherwise as 0; by default, there is no threshold.
        per_image: Whether to average the scores of the images instead of scoring the batch as one large image.
        smooth: Number of pixels added to the numerator and denominator of each ratio.
        ignore: Label id of the pixels to exclude.
        name: Name of the metric, ``precision`` by default.

    Raises:
        WrongArgument: An argument has an invalid value.

    >>> round(float(Precision(threshold=0.3)([[[1, 1, 0]]], [[[[0.9], [0.2], [0.4]]]])), 4)
    0.5
    """

    default_name = "precision"

    def index(self, counts: SoftCounts) -> Tensor:
        """Return the precision of each image and class."""
        return tversky_index(counts, alpha=1.0, beta=0.0, smooth=self.smooth)


@final
@register
class Recall(BatchScore):
    """Recall, TP / (TP + FN), as a mean over batches.

    Classes that occur in neither the ground truth nor the hard prediction are excluded from the mean over classes. A
    class that is predicted but not in the ground truth has recall 1, because it has no false negative (in `Scores`, its
    recall is None).

    Args:
        class_weights: Weight of each selected class, by which its score is multiplied; all weights are 1 by default.
        class_indexes: Index or indices of the channels to include; by default, all channels are included.
        threshold: Value above which a probability counts as 1 and otherwise as 0; by default, there is no threshold.
        per_image: Whether to average the scores of the images instead of scoring the batch as one large image.
        smooth: Number of pixels added to the numerator and denominator of each ratio.
        ignore: Label id of the pixels to exclude.
        name: Name of the metric, ``recall`` by default.

    Raises:
        WrongArgument: An argument has an invalid value.

    >>> round(float(Recall(threshold=0.1)([[[1, 1, 0]]], [[[[0.9], [0.2], [0.4]]]])), 4)
    1.0
    """

    default_name = "recall"

    def index(self, counts: SoftCounts) -> Tensor:
        """Return the recall of each image and class."""
        return tversky_index(counts, alpha=0.0, beta=1.0, smooth=self.smooth)


# Each instance has one state, so two networks that are evaluated alternately need separate instances.
iou_score = IOUScore()
f1_score = FScore(beta=1)
f2_score = FScore(beta=2)
precision = Precision()
recall = Recall()
