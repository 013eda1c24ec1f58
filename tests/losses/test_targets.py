"""Truth and prediction are read as meant, and shapes that do not fit are told what would."""

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
from maskwright.losses.pixel import OneChannel
from maskwright.losses.targets import WrongPredictionShape, WrongTruthShape, read_pixels

HALF = np.full((1, 1, 3, 2), 0.5)


def known(truth, prediction, ignore):
    return ops.convert_to_numpy(read_pixels(truth, prediction, ignore=ignore).known).ravel().tolist()


@pytest.mark.parametrize("kind", ["uint8", "uint16", "int32", "int64", "float16", "float32", "float64"])
def test_ids_of_any_type_are_the_same_classes(kind):
    ids = np.array([[[0, 2, 1, 255]]], dtype=kind)
    for truth in (ids, ids[..., None]):
        pixels = read_pixels(truth, np.zeros((1, 1, 4, 3)), ignore=255)
        np.testing.assert_array_equal(pixels.truth[0, 0], [[1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 0, 0]])


def test_ignored_pixels_of_ids():
    assert known(np.int32([[[0, -1, 1]]]), HALF, -1) == [1, 0, 1]
    assert known(np.uint8([[[0, 255, 1]]]), HALF[..., :1], 255) == [1, 0, 1]
    assert known(np.uint8([[[0, 255, 1]]]), HALF, None) == [1, 1, 1]


def test_ignored_pixels_of_one_hot_maps_are_those_of_the_channel_or_those_without_one():
    maps = np.float32([[[[1, 0], [0, 1], [0, 0]]]])
    assert known(maps, HALF, 1) == [1, 0, 1]
    assert known(maps, HALF, 255) == [1, 1, 0]
    assert known(maps, HALF, None) == [1, 1, 1]


def test_an_id_that_is_no_class_makes_what_is_predicted_there_a_false_alarm():
    loss = DiceLoss(smooth=0)
    assert float(loss([[[0, 9]]], [[[[1.0, 0.0], [1.0, 0.0]]]])) == pytest.approx(1 - 2 / 3)


def test_a_not_a_number_under_an_ignored_pixel_does_no_harm():
    prediction = np.float32([0.8, np.nan]).reshape(1, 1, 2, 1)
    assert float(BinaryCELoss(ignore=255)(np.uint8([[[1, 255]]]), prediction)) == pytest.approx(-np.log(0.8))


def test_soft_truth_of_one_channel_is_taken_as_it_is():
    loss = BinaryCELoss()(np.float32([[[0.25]]]), np.float32([[[[0.6]]]]))
    assert float(loss) == pytest.approx(-0.25 * np.log(0.6) - 0.75 * np.log(0.4))


@pytest.mark.parametrize("kind", [BinaryCELoss, BinaryFocalLoss, DiceLoss, MCCLoss, LovaszHingeLoss])
def test_masks_of_0_and_255_are_masks_of_0_and_1(kind):
    ids, prediction = np.uint8([[[0, 1, 1, 7]]]), np.float32([0.2, 0.7, 0.4, 0.9]).reshape(1, 1, 4, 1)
    of_ones = float(kind(ignore=7)(ids, prediction))
    assert of_ones > 0
    assert float(kind(ignore=7)(np.where(ids == 1, 255, ids), prediction)) == of_ones
    assert float(kind(ignore=255)(np.where(ids == 7, 255, ids), prediction)) == of_ones  # ignored first


def test_pixels_are_decided_for_the_largest_of_all_channels_or_for_one_above_the_threshold():
    prediction = np.float32([[[[0.1, 0.2, 0.7], [0.3, 0.4, 0.3], [0.9, 0.1, 0.0]]]])
    pixels = read_pixels(np.uint8([[[0, 1, 255]]]), prediction, ignore=255, class_indexes=[2, 0])
    np.testing.assert_array_equal(pixels.decided[0, 0], [[1, 0], [0, 0], [0, 0]])
    for threshold, expected in ((0.5, [0, 0, 0]), (0.25, [0, 1, 0])):
        pixels = read_pixels(np.uint8([[[0, 1, 255]]]), prediction[..., :1], ignore=255, threshold=threshold)
        np.testing.assert_array_equal(pixels.decided[0, 0, :, 0], expected)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((2, 5, 6, 4), r"y_true of shape \(2, 5, 6, 4\).*ids \(2, 5, 6\) or \(2, 5, 6, 1\), or one-hot maps .*one id"),
        ((2, 5, 5), r"shape \(2, 5, 5\).*prediction of shape \(2, 5, 6, 3\).*same height and width"),
        ((2, 5, 7, 3), r"same height and width"),
        ((5, 6), r"y_true of shape \(5, 6\)"),
    ],
)
def test_truth_of_another_shape_is_told_which_would_fit(shape, words):
    with pytest.raises(WrongTruthShape, match=words):
        DiceLoss()(np.zeros(shape), np.zeros((2, 5, 6, 3)))


def test_one_channel_expects_no_one_hot_maps():
    with pytest.raises(WrongTruthShape, match=r"expected ids \(2, 5, 6\) or \(2, 5, 6, 1\) for a prediction"):
        DiceLoss()(np.zeros((2, 5, 6, 2)), np.zeros((2, 5, 6, 1)))


def test_a_prediction_needs_four_axes():
    with pytest.raises(WrongPredictionShape, match=r"y_pred of shape \(5, 6, 3\): expected \(images, height"):
        DiceLoss()(np.zeros((5, 6)), np.zeros((5, 6, 3)))


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (DiceLoss(class_indexes=[0, 2]), r"class_indexes=\[0, 2\]: expected channels from 0 to 1"),
        (DiceLoss(class_weights=[1, 2, 3]), r"class_weights=\[1.0, 2.0, 3.0\]: expected one weight for each of 2"),
        (CategoricalCELoss(class_weights=[1.0]), r"class_weights=\[1.0\]: expected one weight for each of 2"),
    ],
)
def test_options_for_other_classes_than_there_are(loss, words):
    with pytest.raises(WrongArgument, match=words):
        loss(np.zeros((1, 1, 3)), HALF)


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (CategoricalCELoss(), "CategoricalCELoss compares .* one channel; use BinaryCELoss"),
        (CategoricalFocalLoss(), "CategoricalFocalLoss compares .* one channel; use BinaryFocalLoss"),
    ],
)
def test_a_loss_of_competing_classes_refuses_a_single_one(loss, words):
    with pytest.raises(OneChannel, match=words):
        loss(np.zeros((1, 1, 3)), HALF[..., :1])
    with pytest.raises(OneChannel, match=words):
        type(loss)(class_indexes=1)(np.zeros((1, 1, 3)), HALF)
