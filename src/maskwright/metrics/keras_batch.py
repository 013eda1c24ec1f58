"""Scores of batches under the reference library's names: IoU, F-score, precision, recall.

The value is the mean over batches of each batch's score: quick to read while training, and dependent on the size of
a batch, so `maskwright.metrics.MeanIoU`, which counts the whole data set, is the one to report. Without a threshold
the counts are sums of probabilities. A batch where nothing is left by the rule of `maskwright.metrics` does not count.
"""

from abc import abstractmethod
from typing import final

from keras import ops

from maskwright.losses.arguments import (
    ClassIndexes,
    ClassWeights,
    checked_id,
    checked_indexes,
    checked_number,
    checked_weights,
)
from maskwright.losses.base import register
from maskwright.losses.soft_counts import (
    SMOOTH,
    Counts,
    f_score_index,
    mean_of_present,
    present,
    soft_counts,
    tversky_index,
)
from maskwright.losses.targets import Tensor, read_pixels
from maskwright.metrics.keras_mean import MeanOfScores


class BatchScore(MeanOfScores):
    """The mean over batches of an index of their counts, the base of the scores here.

    Args:
        class_weights: One weight for each (chosen) class, by which its score is multiplied before the mean.
        class_indexes: The channels that count, a number or several; all by default.
        threshold: Probabilities above it count as 1 and are decisions, others as 0; by default they count as they are.
        per_image: Score image by image and take the mean, rather than the batch as one large image.
        smooth: Pixels added to both sides of each fraction.
        ignore: The id of truth pixels that weigh nothing.
        name: The name in logs.
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
        self.class_weights = checked_weights(class_weights)
        self.class_indexes = checked_indexes(class_indexes)
        self.threshold = None if threshold is None else checked_number("threshold", threshold)
        self.per_image = per_image
        self.smooth = checked_number("smooth", smooth)
        self.ignore = checked_id(ignore)

    @abstractmethod
    def index(self, counts: Counts) -> Tensor:
        """The score of each (image, class)."""

    def scores(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
        """The score of a batch, (1,), and whether it has one, (1,)."""
        pixels = read_pixels(y_true, y_pred, ignore=self.ignore, class_indexes=self.class_indexes)
        if self.threshold is not None:
            decided = ops.cast(pixels.prediction > self.threshold, "float32")
            pixels = pixels._replace(prediction=decided, decided=decided)
        counts = soft_counts(pixels, per_image=self.per_image)
        there = present(pixels, per_image=self.per_image)
        mean, found = mean_of_present(self.index(counts), there, class_weights=self.class_weights)
        return ops.reshape(mean, (1,)), ops.reshape(found, (1,))

    def get_config(self) -> dict[str, object]:
        """All it takes to make this metric again."""
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
    """Hits / (true_positives + false positives + false_negatives), the mean over batches; see `BatchScore`.

    >>> round(float(IOUScore(threshold=0.5)([[[1, 1, 0]]], [[[[0.9], [0.2], [0.4]]]])), 4)
    0.5
    """

    default_name = "iou_score"

    def index(self, counts: Counts) -> Tensor:
        """The IoU of each (image, class)."""
        return tversky_index(counts, alpha=1.0, beta=1.0, smooth=self.smooth)


@final
@register
class FScore(BatchScore):
    """The F-score, in which recall weighs ``beta`` times as much as precision; see `BatchScore`.

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
        beta = checked_number("beta", beta)
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

    def index(self, counts: Counts) -> Tensor:
        """The F-score of each (image, class)."""
        return f_score_index(counts, beta=self.beta, smooth=self.smooth)

    def get_config(self) -> dict[str, object]:
        """All it takes to make this metric again."""
        return {**super().get_config(), "beta": self.beta}


@final
@register
class Precision(BatchScore):
    """Hits / (true_positives + false positives), the mean over batches; see `BatchScore`.

    A class that is in the truth and predicted nowhere has precision 1: it raised no false alarm. (`Scores` has None.)

    >>> round(float(Precision(threshold=0.3)([[[1, 1, 0]]], [[[[0.9], [0.2], [0.4]]]])), 4)
    0.5
    """

    default_name = "precision"

    def index(self, counts: Counts) -> Tensor:
        """The precision of each (image, class)."""
        return tversky_index(counts, alpha=1.0, beta=0.0, smooth=self.smooth)


@final
@register
class Recall(BatchScore):
    """Hits / (true_positives + false_negatives), the mean over batches; see `BatchScore`.

    A class that is predicted and not in the truth has recall 1: it missed nothing. (`Scores` has None.)

    >>> round(float(Recall(threshold=0.1)([[[1, 1, 0]]], [[[[0.9], [0.2], [0.4]]]])), 4)
    1.0
    """

    default_name = "recall"

    def index(self, counts: Counts) -> Tensor:
        """The recall of each (image, class)."""
        return tversky_index(counts, alpha=0.0, beta=1.0, smooth=self.smooth)


# Each of these is one object with one state; two networks measured in turns need metrics of their own.
iou_score = IOUScore()
f1_score = FScore(beta=1)
f2_score = FScore(beta=2)
precision = Precision()
recall = Recall()
