"""Probabilities to classes: the likeliest channel, or one channel above a threshold."""

from typing import NamedTuple

from keras import ops

from maskwright.errors import wrong_argument
from maskwright.losses.targets import Tensor, read_pixels


class Ids(NamedTuple):
    """Truth and prediction as classes, each (n, h, w); both are 0 where a pixel is ignored."""

    truth: Tensor  # int32
    prediction: Tensor  # int32
    known: Tensor  # bool


def read_ids(y_true: Tensor, y_pred: Tensor, *, classes: int, ignore: int | None, threshold: float) -> Ids:
    """The classes of a batch, from whatever `read_pixels` understands.

    Args:
        y_true: Ids or one-hot maps.
        y_pred: Probabilities (n, h, w, c), c being ``classes``, or 1 for a single class and its background.
        classes: Number of classes, background included.
        ignore: The id of truth pixels that are not known; those whose id is no class are not known either.
        threshold: One channel above it is class 1, otherwise class 0.

    Raises:
        WrongArgument: The channels do not fit the classes.
    """
    truth, prediction, known, _ = read_pixels(y_true, y_pred, ignore=ignore)
    channels = prediction.shape[-1]
    if classes != max(channels, 2):
        raise wrong_argument(
            "classes", classes, expected=f"{max(channels, 2)}, as the prediction has {channels} channels"
        )
    if channels == 1:
        return Ids(_int32(truth[..., 0] > 0.5), _int32(prediction[..., 0] > threshold), known[..., 0] > 0)
    known = ops.logical_and(known[..., 0] > 0, ops.max(truth, axis=-1) > 0.5)
    return Ids(_int32(ops.argmax(truth, axis=-1)), _int32(ops.argmax(prediction, axis=-1)), known)


def _int32(values: Tensor) -> Tensor:
    return ops.cast(values, "int32")
