"""Input handling shared by losses and Keras metrics: array layouts, ignored pixels and selected classes."""

from typing import NamedTuple, TypeAlias

import keras
from keras import ops

from maskwright.errors import InputError, wrong_argument
from maskwright.losses.arguments import ClassIndexes, check_class_indexes

Tensor: TypeAlias = keras.KerasTensor


class WrongPredictionShape(InputError):
    """A prediction that is not a batch of maps with a static number of channels."""

    text = "y_pred has shape {found}; expected (images, height, width, classes) with a static number of classes."


class WrongTruthShape(InputError):
    """Ground truth that contains neither one-hot masks nor label ids in the shape of the prediction."""

    text = "y_true has shape {found}; expected {expected} for a prediction of shape {prediction}. {remedy}"


class Pixels(NamedTuple):
    """Float32 input of every loss, in which ``truth`` and ``prediction`` are 0 at invalid pixels."""

    truth: Tensor  # (n, h, w, c): one-hot, or soft values in [0, 1]
    prediction: Tensor  # (n, h, w, c): probabilities or logits
    valid: Tensor  # (n, h, w, 1): 0 where the ground truth is the ignored id, 1 elsewhere
    hard_prediction: Tensor  # (n, h, w, c): 1 for the largest channel, or where a single channel exceeds the threshold


def read_pixels(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    ignore: int | None = None,
    class_indexes: ClassIndexes = None,
    threshold: float = 0.5,
) -> Pixels:
    """Convert ground truth and prediction to one layout, mask ignored pixels and select classes.

    Args:
        y_true: One-hot masks of shape (n, h, w, c) for c > 1, or label ids of shape (n, h, w) or (n, h, w, 1), of any
            dtype. With one channel, the ids are 0 and 1, or soft values in between; larger values are clipped to 1, so
            masks of 0 and 255 are accepted. With several channels, a pixel whose id is not a class belongs to no class,
            and every prediction there is a false positive.
        y_pred: Probabilities or logits of shape (n, h, w, c) and any float dtype, which are converted to float32.
        ignore: Label id of the pixels to mask. In one-hot masks, these are the pixels whose channel ``ignore`` is set
            or, if there is no such channel, the pixels in which no channel is set, as produced by one-hot encoding for
            an id that is not a class.
        class_indexes: Indices of the channels to select, in this order; None selects all channels. The hard prediction
            is computed from all channels.
        threshold: Value above which a single channel is predicted as positive.

    Raises:
        WrongPredictionShape: ``y_pred`` is not four-dimensional, or its number of channels is not static.
        WrongTruthShape: ``y_true`` contains neither one-hot masks nor label ids.
        WrongArgument: An index in ``class_indexes`` is out of range.

    >>> pixels = read_pixels([[[0, 2, 255]]], [[[[0.7, 0.2, 0.1]] * 3]], ignore=255, class_indexes=[2])
    >>> ops.convert_to_numpy(pixels.truth).ravel().tolist(), ops.convert_to_numpy(pixels.valid).ravel().tolist()
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
    valid = _valid(truth, ignore, one_hot=one_hot)
    if not one_hot and channels > 1:
        truth = _float32(ops.equal(truth, ops.arange(channels, dtype="float32")))
    truth, prediction, valid = ops.where(valid, truth, 0.0), ops.where(valid, prediction, 0.0), _float32(valid)
    if channels == 1:
        truth, hard = ops.clip(truth, 0.0, 1.0), valid * _float32(prediction > threshold)
    else:
        hard = valid * ops.one_hot(ops.argmax(prediction, axis=-1), channels, dtype="float32")
    return select_classes(Pixels(truth, prediction, valid, hard), class_indexes)


def select_classes(pixels: Pixels, class_indexes: ClassIndexes) -> Pixels:
    """Return only the given channels, in the given order, or all channels if ``class_indexes`` is None.

    Raises:
        WrongArgument: An index in ``class_indexes`` is out of range or a duplicate.
    """
    indexes = check_class_indexes(class_indexes)
    if indexes is None:
        return pixels
    channels = pixels.prediction.shape[-1]
    if max(indexes) >= channels:
        raise wrong_argument("class_indexes", indexes, expected=f"channels from 0 to {channels - 1}")
    truth, prediction, hard = (
        ops.take(maps, indexes, axis=-1) for maps in (pixels.truth, pixels.prediction, pixels.hard_prediction)
    )
    return Pixels(truth, prediction, pixels.valid, hard)


def _is_one_hot(truth: Tensor, prediction_shape: tuple[int | None, ...]) -> bool:
    found = _static_shape(truth)
    if found is None:
        raise _wrong_truth(None, prediction_shape, "Set the rank of the data set's masks.")
    if len(found) not in (3, 4) or (len(found) == 4 and found[-1] not in (1, prediction_shape[-1])):
        raise _wrong_truth(found, prediction_shape, "Pass one label id per pixel, or one channel per output channel.")
    if any(a != b for a, b in zip(found[:3], prediction_shape[:3], strict=True) if a is not None and b is not None):
        raise _wrong_truth(found, prediction_shape, "Masks and predictions must have the same height and width.")
    return len(found) == 4 and found[-1] == prediction_shape[-1] != 1


def _wrong_truth(found: object, prediction_shape: tuple[int | None, ...], remedy: str) -> WrongTruthShape:
    expected = f"label ids {prediction_shape[:3]} or {(*prediction_shape[:3], 1)}"
    if prediction_shape[-1] != 1:
        expected += f", or one-hot masks {prediction_shape}"
    return WrongTruthShape(found=found, expected=expected, prediction=prediction_shape, remedy=remedy)


def _valid(truth: Tensor, ignore: int | None, *, one_hot: bool) -> Tensor:
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
    except ValueError:  # TensorFlow raises this error for a tensor of unknown rank
        return None
