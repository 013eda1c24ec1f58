"""Conversion of probabilities to label ids, by argmax or, for a single channel, by a threshold."""

from typing import NamedTuple

from keras import ops

from maskwright.errors import wrong_argument
from maskwright.losses.targets import Tensor, read_pixels


class LabelIds(NamedTuple):
    """Label ids of ground truth and prediction, 0 at invalid pixels, and a map of valid pixels, each (n, h, w)."""

    truth: Tensor  # int32
    prediction: Tensor  # int32
    valid: Tensor  # bool


def read_label_ids(y_true: Tensor, y_pred: Tensor, *, classes: int, ignore: int | None, threshold: float) -> LabelIds:
    """Convert the ground truth and the prediction of a batch to label ids.

    Args:
        y_true: Ground truth as label ids, (n, h, w) or (n, h, w, 1), or as one-hot masks, (n, h, w, c).
        y_pred: Probabilities of shape (n, h, w, c), where c is ``classes``, or 1 for a single class and its background.
        classes: Number of classes, including background.
        ignore: Label id of the ground truth pixels that are invalid. Pixels whose id is not a class are also invalid.
        threshold: Probability above which a pixel of a single-channel prediction is class 1; other pixels are class 0.

    Raises:
        WrongArgument: ``classes`` does not match the number of channels.
    """
    truth, prediction, valid, _ = read_pixels(y_true, y_pred, ignore=ignore)
    channels = prediction.shape[-1]
    if classes != max(channels, 2):
        raise wrong_argument(
            "classes", classes, expected=f"{max(channels, 2)} for a prediction with {channels} channels"
        )
    if channels == 1:
        return LabelIds(_int32(truth[..., 0] > 0.5), _int32(prediction[..., 0] > threshold), valid[..., 0] > 0)
    valid = ops.logical_and(valid[..., 0] > 0, ops.max(truth, axis=-1) > 0.5)
    return LabelIds(_int32(ops.argmax(truth, axis=-1)), _int32(ops.argmax(prediction, axis=-1)), valid)


def _int32(values: Tensor) -> Tensor:
    return ops.cast(values, "int32")
