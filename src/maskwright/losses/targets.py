"""One reading of truth and prediction for every loss and Keras metric: layouts, ignored pixels, chosen classes."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import keras
from keras import ops

from maskwright.errors import InputError, wrong_argument

Tensor: TypeAlias = keras.KerasTensor


class WrongPredictionShape(InputError):
    """A prediction that is not a batch of maps with a known number of channels."""

    text = "y_pred of shape {found}: expected (images, height, width, classes) with the number of classes known."


class WrongTruthShape(InputError):
    """A truth that is neither one-hot maps nor ids for the prediction beside it."""

    text = "y_true of shape {found}: expected {expected} for a prediction of shape {prediction}. {remedy}"


class Pixels(NamedTuple):
    """What every loss counts on, float32; truth and prediction are 0 wherever ``known`` is, so they add nothing there."""

    truth: Tensor  # (n, h, w, c): one-hot, or soft values in [0, 1]
    prediction: Tensor  # (n, h, w, c): probabilities
    known: Tensor  # (n, h, w, 1): 1, or 0 where the truth is ignored
    decided: Tensor  # (n, h, w, c): 1 for the largest channel of a known pixel, or for an only one above a threshold


def read_pixels(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    ignore: int | None = None,
    class_indexes: Sequence[int] | None = None,
    threshold: float = 0.5,
) -> Pixels:
    """Truth and prediction in one layout, without the ignored pixels and the classes not chosen.

    Args:
        y_true: One-hot maps (n, h, w, c) when c > 1; otherwise ids, (n, h, w) or (n, h, w, 1), of any type.
            With one channel the ids are 0 and 1, or soft values between them; what is above 1 is read as 1, so
            that masks of 0 and 255 are masks. With several, an id that is no class belongs to none: whatever is
            predicted there is a false alarm.
        y_pred: (n, h, w, c) of any floating type; computed on in float32.
        ignore: The id of pixels that weigh nothing. In one-hot truth these are the pixels whose channel ``ignore``
            is set or, where there is no such channel, the pixels with no channel set (which is what one-hot
            encoding makes of an id beyond the classes).
        class_indexes: The channels to keep, in this order; all of them by default. A pixel is decided before.
        threshold: An only channel is decided for above it.

    Raises:
        WrongPredictionShape: ``y_pred`` has no four axes, or an unknown number of channels.
        WrongTruthShape: ``y_true`` fits neither layout.
        WrongArgument: ``class_indexes`` names a channel that is not there.

    >>> pixels = read_pixels([[[0, 2, 255]]], [[[[0.7, 0.2, 0.1]] * 3]], ignore=255, class_indexes=[2])
    >>> ops.convert_to_numpy(pixels.truth).ravel().tolist(), ops.convert_to_numpy(pixels.known).ravel().tolist()
    ([0.0, 1.0, 0.0], [1.0, 1.0, 0.0])
    """
    prediction, truth = _float32(y_pred), _float32(y_true)
    prediction_shape = _static_shape(prediction)
    if prediction_shape is None or len(prediction_shape) != 4 or prediction_shape[-1] is None:
        raise WrongPredictionShape(found=prediction_shape)
    channels = prediction_shape[-1]
    one_hot = _is_one_hot(truth, prediction_shape)
    if len(truth.shape) == 3:
        truth = ops.expand_dims(truth, -1)
    known = _known(truth, ignore, one_hot=one_hot)
    if not one_hot and channels > 1:
        truth = _float32(ops.equal(truth, ops.arange(channels, dtype="float32")))
    truth, prediction, known = ops.where(known, truth, 0.0), ops.where(known, prediction, 0.0), _float32(known)
    if channels == 1:
        truth, decided = ops.clip(truth, 0.0, 1.0), known * _float32(prediction > threshold)
    else:
        decided = known * ops.one_hot(ops.argmax(prediction, axis=-1), channels, dtype="float32")
    if class_indexes is not None:
        if not set(class_indexes) <= set(range(channels)):
            raise wrong_argument("class_indexes", list(class_indexes), expected=f"channels from 0 to {channels - 1}")
        truth, prediction, decided = (ops.take(maps, list(class_indexes), axis=-1) for maps in (truth, prediction, decided))
    return Pixels(truth, prediction, known, decided)


def _is_one_hot(truth: Tensor, prediction_shape: tuple[int | None, ...]) -> bool:
    found = _static_shape(truth)
    if found is None:
        raise _wrong_truth(None, prediction_shape, "Give the data set's masks a known number of axes.")
    if len(found) not in (3, 4) or (len(found) == 4 and found[-1] not in (1, prediction_shape[-1])):
        raise _wrong_truth(found, prediction_shape, "Give one id a pixel, or one channel for each channel of the network.")
    if any(a != b for a, b in zip(found[:3], prediction_shape[:3], strict=True) if a is not None and b is not None):
        raise _wrong_truth(found, prediction_shape, "Masks and predictions must have the same height and width.")
    return len(found) == 4 and found[-1] == prediction_shape[-1] != 1


def _wrong_truth(found: object, prediction_shape: tuple[int | None, ...], remedy: str) -> WrongTruthShape:
    expected = f"ids {prediction_shape[:3]} or {(*prediction_shape[:3], 1)}"
    if prediction_shape[-1] != 1:
        expected += f", or one-hot maps {prediction_shape}"
    return WrongTruthShape(found=found, expected=expected, prediction=prediction_shape, remedy=remedy)


def _known(truth: Tensor, ignore: int | None, *, one_hot: bool) -> Tensor:
    if ignore is None:
        return ops.ones_like(truth[..., :1], dtype="bool")
    if not one_hot:
        return ops.not_equal(truth, float(ignore))
    if 0 <= ignore < truth.shape[-1]:
        return truth[..., ignore : ignore + 1] < 0.5
    return ops.max(truth, axis=-1, keepdims=True) >= 0.5


def _float32(values: Tensor) -> Tensor:
    return ops.cast(ops.convert_to_tensor(values), "float32")


def _static_shape(tensor: Tensor) -> tuple[int | None, ...] | None:
    try:
        return tuple(tensor.shape)
    except ValueError:  # TensorFlow's answer for a tensor of unknown rank
        return None
