"""Losses that score every pixel by itself: cross entropy and focal loss, for sigmoid and for softmax heads.

Each is the mean, over known pixels and chosen classes, of a cost times the class's weight; with no known pixel it
is 0. Probabilities are kept `NEAR` away from 0 and 1, so that every cost and gradient is finite.
"""

from typing import Unpack, final

from keras import ops

from maskwright.errors import InputError
from maskwright.losses.arguments import ClassIndexes, ClassWeights, ReadOptions
from maskwright.losses.base import FunctionLoss, register
from maskwright.losses.soft_counts import weights_of_classes
from maskwright.losses.targets import Pixels, Tensor, read_pixels

NEAR = 1e-7


class OneChannel(InputError):
    """A loss for competing classes that was given a single one, which it would find everywhere at no cost."""

    text = "{loss} compares classes with each other and was given one channel; use {instead}."


def binary_cross_entropy(
    y_true: Tensor, y_pred: Tensor, *, class_weights: ClassWeights = None, **options: Unpack[ReadOptions]
) -> Tensor:
    """The function of `BinaryCELoss`, a scalar."""
    pixels = read_pixels(y_true, y_pred, **options)
    prediction = _inside(pixels.prediction)
    costs = -pixels.truth * ops.log(prediction) - (1 - pixels.truth) * ops.log(1 - prediction)
    return _mean_of_pixels(costs, pixels, class_weights)


def categorical_cross_entropy(
    y_true: Tensor, y_pred: Tensor, *, class_weights: ClassWeights = None, **options: Unpack[ReadOptions]
) -> Tensor:
    """The function of `CategoricalCELoss`, a scalar."""
    pixels = read_pixels(y_true, y_pred, **options)
    _refuse_one_channel(pixels.prediction, loss="CategoricalCELoss", instead="BinaryCELoss")
    total = ops.sum(pixels.prediction, axis=-1, keepdims=True)
    costs = -pixels.truth * ops.log(_inside(pixels.prediction / ops.maximum(total, NEAR)))
    return _mean_of_pixels(costs, pixels, class_weights)


def binary_focal(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    alpha: float = 0.25,
    gamma: float = 2.0,
    class_weights: ClassWeights = None,
    **options: Unpack[ReadOptions],
) -> Tensor:
    """The function of `BinaryFocalLoss`, a scalar."""
    pixels = read_pixels(y_true, y_pred, **options)
    prediction = _inside(pixels.prediction)
    of_class = pixels.truth * alpha * ops.power(1 - prediction, gamma) * ops.log(prediction)
    of_rest = (1 - pixels.truth) * (1 - alpha) * ops.power(prediction, gamma) * ops.log(1 - prediction)
    return _mean_of_pixels(-of_class - of_rest, pixels, class_weights)


def categorical_focal(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    alpha: float = 0.25,
    gamma: float = 2.0,
    class_weights: ClassWeights = None,
    **options: Unpack[ReadOptions],
) -> Tensor:
    """The function of `CategoricalFocalLoss`, a scalar."""
    pixels = read_pixels(y_true, y_pred, **options)
    _refuse_one_channel(pixels.prediction, loss="CategoricalFocalLoss", instead="BinaryFocalLoss")
    prediction = _inside(pixels.prediction)
    return _mean_of_pixels(-pixels.truth * alpha * ops.power(1 - prediction, gamma) * ops.log(prediction), pixels, class_weights)


def _mean_of_pixels(costs: Tensor, pixels: Pixels, class_weights: ClassWeights) -> Tensor:
    classes = int(costs.shape[-1])
    counted = ops.sum(pixels.known) * classes
    return ops.sum(costs * pixels.known * weights_of_classes(class_weights, classes)) / ops.maximum(counted, 1.0)


def _inside(prediction: Tensor) -> Tensor:
    return ops.clip(prediction, NEAR, 1 - NEAR)


def _refuse_one_channel(prediction: Tensor, *, loss: str, instead: str) -> None:
    if prediction.shape[-1] == 1:
        raise OneChannel(loss=loss, instead=instead)


@final
@register
class BinaryCELoss(FunctionLoss):
    """Cross entropy of each channel by itself, for a sigmoid head; -log(p) on the class and -log(1 - p) off it.

    With several channels, classes may overlap. The options are those of `PixelOptions`.

    >>> round(float(BinaryCELoss()([[[1, 0]]], [[[[0.5], [0.2]]]])), 4)  # the mean of -log(0.5) and -log(0.8)
    0.4581
    """

    def __init__(
        self,
        *,
        class_weights: ClassWeights = None,
        class_indexes: ClassIndexes = None,
        ignore: int | None = None,
        name: str = "binary_crossentropy",
    ) -> None:
        super().__init__(
            binary_cross_entropy, name=name, class_weights=class_weights, class_indexes=class_indexes, ignore=ignore
        )


@final
@register
class CategoricalCELoss(FunctionLoss):
    """-log(p) of the true class, for a softmax head; p is first divided by the sum over the (chosen) classes.

    The mean is over pixels and classes, as in the reference library: 1/c of Keras' own categorical cross entropy.
    With ``class_indexes`` the chosen classes compete among themselves only, and a pixel of another costs nothing.
    The options are those of `PixelOptions`.

    >>> round(float(CategoricalCELoss()([[[1]]], [[[[0.2, 0.5, 0.3]]]])), 4)  # -log(0.5) / 3
    0.231

    Raises (when called):
        OneChannel: Fewer than two classes remain.
    """

    def __init__(
        self,
        class_weights: ClassWeights = None,
        class_indexes: ClassIndexes = None,
        *,
        ignore: int | None = None,
        name: str = "categorical_crossentropy",
    ) -> None:
        super().__init__(
            categorical_cross_entropy,
            name=name,
            class_weights=class_weights,
            class_indexes=class_indexes,
            ignore=ignore,
        )


@final
@register
class BinaryFocalLoss(FunctionLoss):
    """Cross entropy that fades for pixels already right (Lin et al. 2017), for a sigmoid head.

    A pixel of the class costs -alpha (1 - p)^gamma log(p), one off it -(1 - alpha) p^gamma log(1 - p).
    The options are those of `PixelOptions`.

    >>> round(float(BinaryFocalLoss(alpha=0.25, gamma=2)([[[1]]], [[[[0.5]]]])), 4)  # 0.25 * 0.5^2 * log(2)
    0.0433
    """

    def __init__(
        self,
        alpha: float = 0.25,
        gamma: float = 2.0,
        *,
        class_weights: ClassWeights = None,
        class_indexes: ClassIndexes = None,
        ignore: int | None = None,
        name: str = "binary_focal_loss",
    ) -> None:
        super().__init__(
            binary_focal,
            name=name,
            alpha=alpha,
            gamma=gamma,
            class_weights=class_weights,
            class_indexes=class_indexes,
            ignore=ignore,
        )


@final
@register
class CategoricalFocalLoss(FunctionLoss):
    """-alpha (1 - p)^gamma log(p) of the true class, for a softmax head, after Lin et al. 2017.

    The mean is over pixels and classes; the options are those of `PixelOptions`.

    >>> round(float(CategoricalFocalLoss(gamma=1)([[[1]]], [[[[0.5, 0.5]]]])), 4)  # 0.25 * 0.5 * log(2) / 2
    0.0433

    Raises (when called):
        OneChannel: Fewer than two classes remain.
    """

    def __init__(
        self,
        alpha: float = 0.25,
        gamma: float = 2.0,
        *,
        class_weights: ClassWeights = None,
        class_indexes: ClassIndexes = None,
        ignore: int | None = None,
        name: str = "focal_loss",
    ) -> None:
        super().__init__(
            categorical_focal,
            name=name,
            alpha=alpha,
            gamma=gamma,
            class_weights=class_weights,
            class_indexes=class_indexes,
            ignore=ignore,
        )
