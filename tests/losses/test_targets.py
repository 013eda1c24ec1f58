"""Layouts of truth and prediction, ignored pixels, and errors for other shapes."""

import numpy as np
import pytest
from keras import ops

from maskwright.errors import WrongArgument
from maskwright.losses import (
    BinaryCELoss,
    BinaryFocalLoss,
    CategoricalCELoss,
    CategoricalFocalLoss,
    DiceLoss,
    LovaszHingeLoss,
    MCCLoss,
)
from maskwright.losses.pixelwise import SingleChannel
from maskwright.losses.targets import WrongPredictionShape, WrongTruthShape, read_pixels

HALF = np.full((1, 1, 3, 2), 0.5)


def valid(truth, prediction, ignore):
    return ops.convert_to_numpy(read_pixels(truth, prediction, ignore=ignore).valid).ravel().tolist()


@pytest.mark.parametrize("kind", ["uint8", "uint16", "int32", "int64", "float16", "float32", "float64"])
def test_ids_of_any_dtype_are_the_same_classes(kind):
    ids = np.array([[[0, 2, 1, 255]]], dtype=kind)
    for truth in (ids, ids[..., None]):
        pixels = read_pixels(truth, np.zeros((1, 1, 4, 3)), ignore=255)
        np.testing.assert_array_equal(pixels.truth[0, 0], [[1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 0, 0]])


def test_ignored_ids_are_not_valid():
    assert valid(np.int32([[[0, -1, 1]]]), HALF, -1) == [1, 0, 1]
    assert valid(np.uint8([[[0, 255, 1]]]), HALF[..., :1], 255) == [1, 0, 1]
    assert valid(np.uint8([[[0, 255, 1]]]), HALF, None) == [1, 1, 1]


def test_ignored_one_hot_pixels_have_that_channel_or_no_channel_set():
    maps = np.float32([[[[1, 0], [0, 1], [0, 0]]]])
    assert valid(maps, HALF, 1) == [1, 0, 1]
    assert valid(maps, HALF, 255) == [1, 1, 0]
    assert valid(maps, HALF, None) == [1, 1, 1]


def test_prediction_at_an_id_that_is_not_a_class_is_a_false_positive():
    loss = DiceLoss(smooth=0)
    assert float(loss([[[0, 9]]], [[[[1.0, 0.0], [1.0, 0.0]]]])) == pytest.approx(1 - 2 / 3)


def test_nan_prediction_at_an_ignored_pixel_has_no_effect():
    prediction = np.float32([0.8, np.nan]).reshape(1, 1, 2, 1)
    assert float(BinaryCELoss(ignore=255)(np.uint8([[[1, 255]]]), prediction)) == pytest.approx(-np.log(0.8))


def test_soft_truth_of_one_channel_is_used_unchanged():
    loss = BinaryCELoss()(np.float32([[[0.25]]]), np.float32([[[[0.6]]]]))
    assert float(loss) == pytest.approx(-0.25 * np.log(0.6) - 0.75 * np.log(0.4))


@pytest.mark.parametrize("kind", [BinaryCELoss, BinaryFocalLoss, DiceLoss, MCCLoss, LovaszHingeLoss])
def test_masks_of_0_and_255_equal_masks_of_0_and_1(kind):
    ids, prediction = np.uint8([[[0, 1, 1, 7]]]), np.float32([0.2, 0.7, 0.4, 0.9]).reshape(1, 1, 4, 1)
    expected = float(kind(ignore=7)(ids, prediction))
    assert expected > 0
    assert float(kind(ignore=7)(np.where(ids == 1, 255, ids), prediction)) == expected
    assert float(kind(ignore=255)(np.where(ids == 7, 255, ids), prediction)) == expected  # ignored first


def test_hard_prediction_is_the_argmax_or_one_channel_above_the_threshold():
    prediction = np.float32([[[[0.1, 0.2, 0.7], [0.3, 0.4, 0.3], [0.9, 0.1, 0.0]]]])
    pixels = read_pixels(np.uint8([[[0, 1, 255]]]), prediction, ignore=255, class_indexes=[2, 0])
    np.testing.assert_array_equal(pixels.hard_prediction[0, 0], [[1, 0], [0, 0], [0, 0]])
    for threshold, expected in ((0.5, [0, 0, 0]), (0.25, [0, 1, 0])):
        pixels = read_pixels(np.uint8([[[0, 1, 255]]]), prediction[..., :1], ignore=255, threshold=threshold)
        np.testing.assert_array_equal(pixels.hard_prediction[0, 0, :, 0], expected)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 5, 6, 4), r"y_true .*\(2, 5, 6, 4\); .*ids \(2, 5, 6\) or \(2, 5, 6, 1\), .*one-hot.*\(2, 5, 6, 3\)"),
        ((2, 5, 5), r"y_true .*\(2, 5, 5\); .*prediction of shape \(2, 5, 6, 3\).*height and width"),
        ((2, 5, 7, 3), r"y_true .*\(2, 5, 7, 3\); .*height and width"),
        ((5, 6), r"y_true .*\(5, 6\); expected "),
    ],
)
def test_truth_of_another_shape_is_an_error_with_the_expected_shapes(shape, message):
    with pytest.raises(WrongTruthShape, match=message):
        DiceLoss()(np.zeros(shape), np.zeros((2, 5, 6, 3)))


def test_one_hot_truth_for_one_channel_is_an_error():
    with pytest.raises(WrongTruthShape, match=r"ids \(2, 5, 6\) or \(2, 5, 6, 1\) for a prediction"):
        DiceLoss()(np.zeros((2, 5, 6, 2)), np.zeros((2, 5, 6, 1)))


def test_prediction_without_four_axes_is_an_error():
    with pytest.raises(WrongPredictionShape, match=r"y_pred .*\(5, 6, 3\); expected \(images, height"):
        DiceLoss()(np.zeros((5, 6)), np.zeros((5, 6, 3)))


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (DiceLoss(class_indexes=[0, 2]), r"class_indexes=\[0, 2\]: expected channels from 0 to 1"),
        (DiceLoss(class_weights=[1, 2, 3]), r"class_weights=\[1.0, 2.0, 3.0\]: expected one weight for each of 2"),
        (CategoricalCELoss(class_weights=[1.0]), r"class_weights=\[1.0\]: expected one weight for each of 2"),
    ],
)
def test_class_arguments_that_do_not_match_the_channels_are_errors(loss, message):
    with pytest.raises(WrongArgument, match=message):
        loss(np.zeros((1, 1, 3)), HALF)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (CategoricalCELoss(), "^CategoricalCELoss .*BinaryCELoss"),
        (CategoricalFocalLoss(), "^CategoricalFocalLoss .*BinaryFocalLoss"),
    ],
)
def test_categorical_loss_of_a_single_channel_is_an_error(loss, message):
    with pytest.raises(SingleChannel, match=message):
        loss(np.zeros((1, 1, 3)), HALF[..., :1])
    with pytest.raises(SingleChannel, match=message):
        type(loss)(class_indexes=1)(np.zeros((1, 1, 3)), HALF)
