"""Functions shared by the losses that are means over pixels: cross entropy and focal loss."""

from keras import ops

from maskwright.errors import InputError
from maskwright.losses.arguments import ClassWeights
from maskwright.losses.soft_counts import class_weight_tensor
from maskwright.losses.targets import Pixels, Tensor

EPSILON = 1e-7
"""Minimum distance of probabilities from 0 and 1, which keeps their logarithms and gradients finite."""


class SingleChannel(InputError):
    """A loss for mutually exclusive classes on a single channel, where predicting 1 everywhere gives zero loss."""

    text = "{loss} needs at least two channels but got one; use {instead}."


def clip_probabilities(probabilities: Tensor) -> Tensor:
    """Clip probabilities to [`EPSILON`, 1 - `EPSILON`]."""
    return ops.clip(probabilities, EPSILON, 1 - EPSILON)


def mean_over_pixels(costs: Tensor, pixels: Pixels, class_weights: ClassWeights) -> Tensor:
    """Return the weighted mean of (n, h, w, c) costs over valid pixels and classes, or 0 without valid pixels."""
    classes = int(costs.shape[-1])
    count = ops.sum(pixels.valid) * classes
    return ops.sum(costs * pixels.valid * class_weight_tensor(class_weights, classes)) / ops.maximum(count, 1.0)


def check_several_channels(prediction: Tensor, *, loss: str, instead: str) -> None:
    """Check that a prediction has at least two channels.

    Raises:
        SingleChannel: The prediction has only one channel.
    """
    if prediction.shape[-1] == 1:
        raise SingleChannel(loss=loss, instead=instead)
