"""Classes and images in neither truth nor prediction are left out of a loss; those falsely predicted are not."""

from functools import partial

import numpy as np
import pytest

from maskwright.losses import (
    BinaryCELoss,
    DiceLoss,
    FocalTverskyLoss,
    JaccardLoss,
    LovaszHingeLoss,
    LovaszSoftmaxLoss,
    MCCLoss,
    TverskyLoss,
)
from maskwright.metrics import IOUScore, MeanIoU

REGION = [JaccardLoss, DiceLoss, TverskyLoss, FocalTverskyLoss, LovaszSoftmaxLoss, MCCLoss]


@pytest.mark.parametrize("kind", REGION)
def test_a_class_in_neither_is_left_out(kind):
    random = np.random.default_rng(1)
    ids, prediction = random.integers(0, 2, (2, 5, 6)), random.uniform(0.1, 0.9, (2, 5, 6, 3))
    prediction[..., 2] = 0
    assert float(kind()(ids, prediction)) == pytest.approx(float(kind()(np.eye(2)[ids], prediction[..., :2])), rel=1e-6)


def softmax_of(ids, classes, *, right):
    """Probabilities with the largest on the ids, and the rest on every other class."""
    return np.where(np.eye(classes)[ids] == 1, right, (1 - right) / (classes - 1))


@pytest.mark.parametrize("kind", REGION)
@pytest.mark.parametrize("per_image", [False, True])
def test_the_leakage_of_a_softmax_makes_no_class_present(kind, per_image):
    """Of eleven classes five are in the truth and found everywhere; the classes that count are those of `MeanIoU`."""
    ids = np.random.default_rng(4).integers(0, 5, (2, 8, 9))
    prediction = softmax_of(ids, 11, right=0.999)
    there, loss = MeanIoU(11), kind(per_image=per_image)
    assert float(there(ids, prediction)) == 1
    assert np.flatnonzero(there.confusion().sum(0) + there.confusion().sum(1)).tolist() == [0, 1, 2, 3, 4]
    assert float(loss(ids, prediction)) < 0.01
    assert float(loss(ids, prediction)) == pytest.approx(float(loss(ids, prediction[..., :5])), abs=1e-6)
    assert float(IOUScore(per_image=per_image)(ids, prediction)) > 0.99


@pytest.mark.parametrize("kind", REGION)
def test_one_pixel_decided_for_a_class_not_in_the_truth_makes_it_present(kind):
    ids = np.random.default_rng(4).integers(0, 2, (2, 8, 9))
    decided = ids.copy()
    decided[0, 0, 0] = 2
    assert float(kind()(ids, softmax_of(decided, 4, right=0.97))) > 1 / 3 * 0.9
    assert float(IOUScore()(ids, softmax_of(decided, 4, right=0.97))) < 0.7


def test_a_class_not_chosen_is_decided_for_all_the_same():
    """Among the chosen channels 1 and 2 the largest is 2, but every pixel is decided for channel 0."""
    prediction = np.tile([0.9, 0.02, 0.08], (1, 2, 3, 1))
    assert float(DiceLoss(class_indexes=[1, 2])(np.zeros((1, 2, 3)), prediction)) == 0


@pytest.mark.parametrize(("logit", "costs"), [(-0.1, False), (0.1, True)])
def test_logits_are_decided_at_0_and_probabilities_at_a_half(logit, costs):
    truth, logits = np.zeros((1, 2, 3)), np.full((1, 2, 3, 1), logit)
    assert (float(LovaszHingeLoss(from_logits=True)(truth, logits)) > 0) == costs
    for kind in (*REGION, LovaszHingeLoss):
        assert (float(kind()(truth, 1 / (1 + np.exp(-logits)))) > 0) == costs


@pytest.mark.parametrize("kind", [*REGION, LovaszHingeLoss])
def test_nothing_in_either_costs_nothing(kind):
    assert float(kind()(np.zeros((2, 5, 6)), np.zeros((2, 5, 6, 1)))) == 0


EMPTY, FALSE_ALARMS = np.zeros((2, 5, 6)), np.full((2, 5, 6, 1), 0.75)  # 45 soft pixels


@pytest.mark.parametrize(("kind", "charge"), [(JaccardLoss, 1), (DiceLoss, 1 / 2), (TverskyLoss, 0.3)])
def test_false_alarms_on_an_empty_image_cost_everything_and_teach_almost_nothing(kind, charge, gradient):
    """The score is s / (charge * 45 + s), with s = 1e-5 (for Dice, half of it): its slope is as good as none."""
    smooth = 0.5e-5 if kind is DiceLoss else 1e-5
    assert float(kind()(EMPTY, FALSE_ALARMS)) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(gradient(kind(), EMPTY, FALSE_ALARMS), smooth / (charge * 45**2), rtol=1e-3)
    assert gradient(kind() + BinaryCELoss(), EMPTY, FALSE_ALARMS).min() > 0.01


def test_false_alarms_on_an_empty_image_cost_lovasz_the_largest_of_them_which_learns_alone(gradient):
    prediction = FALSE_ALARMS.copy()
    prediction[1, 2, 3] = 0.9
    assert float(LovaszSoftmaxLoss()(EMPTY, prediction)) == pytest.approx(0.9)
    np.testing.assert_array_equal(gradient(LovaszSoftmaxLoss(), EMPTY, prediction), prediction == 0.9)


def test_matthews_is_not_won_on_an_empty_image():
    assert float(MCCLoss()(EMPTY, FALSE_ALARMS)) > 0.9


def test_per_image_a_class_is_averaged_over_the_images_that_have_it():
    ids = np.uint8([[[0, 0, 0, 1]], [[0, 0, 0, 0]], [[1, 1, 0, 0]]])
    prediction = np.eye(2)[np.uint8([[[0, 0, 1, 1]], [[0, 0, 0, 0]], [[1, 0, 0, 0]]])]
    of_class_0, of_class_1 = [2 / 3, 1, 2 / 3], [1 / 2, 1 / 2]  # the second image has no class 1
    expected = 1 - (np.mean(of_class_0) + np.mean(of_class_1)) / 2
    assert float(JaccardLoss(per_image=True, smooth=0)(ids, prediction)) == pytest.approx(expected)
    assert float(LovaszSoftmaxLoss(per_image=True)(ids, prediction)) == pytest.approx(expected)


@pytest.mark.parametrize("kind", [*REGION, LovaszHingeLoss, partial(LovaszHingeLoss, from_logits=True)])
def test_per_image_an_image_of_ignored_pixels_is_left_out(kind):
    random = np.random.default_rng(2)
    ids, prediction = random.integers(0, 2, (2, 5, 6)), random.uniform(0.1, 0.9, (2, 5, 6, 1))
    loss = kind(per_image=True, ignore=255)
    first_twice = float(loss(ids[[0, 0]], prediction[[0, 0]]))
    ids[1] = 255
    assert float(loss(ids, prediction)) == pytest.approx(first_twice, rel=1e-6)


def test_an_ignored_pixel_with_the_largest_error_does_no_harm():
    truth, logits = np.uint8([[[255, 1, 1]]]), np.float32([0, 0.5, 3]).reshape(1, 1, 3, 1)
    assert float(LovaszHingeLoss(from_logits=True, ignore=255)(truth, logits)) == 0.25  # half the second one's error


def test_weights_go_with_their_classes_when_one_is_left_out():
    ids = np.uint8([[[0, 0, 2, 2]]])
    prediction = np.eye(3)[np.uint8([[[0, 2, 2, 2]]])]
    loss = JaccardLoss([2.0, 50.0, 3.0], smooth=0)
    assert float(loss(ids, prediction)) == pytest.approx(1 - (2 * 1 / 2 + 3 * 2 / 3) / 2)
