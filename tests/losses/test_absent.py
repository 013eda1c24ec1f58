"""Classes and images in neither truth nor prediction are excluded from a loss; false positives are not."""

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
def test_class_in_neither_truth_nor_prediction_is_excluded(kind):
    random = np.random.default_rng(1)
    ids, prediction = random.integers(0, 2, (2, 5, 6)), random.uniform(0.1, 0.9, (2, 5, 6, 3))
    prediction[..., 2] = 0
    assert float(kind()(ids, prediction)) == pytest.approx(float(kind()(np.eye(2)[ids], prediction[..., :2])), rel=1e-6)


def probabilities_for(ids, classes, *, correct):
    """Return probabilities ``correct`` for the given ids, and the rest split between the other classes."""
    return np.where(np.eye(classes)[ids] == 1, correct, (1 - correct) / (classes - 1))


@pytest.mark.parametrize("kind", REGION)
@pytest.mark.parametrize("per_image", [False, True])
def test_small_softmax_probabilities_do_not_make_a_class_present(kind, per_image):
    """Five of eleven classes are in the truth; the present classes are those of `MeanIoU`."""
    ids = np.random.default_rng(4).integers(0, 5, (2, 8, 9))
    prediction = probabilities_for(ids, 11, correct=0.999)
    mean_iou, loss = MeanIoU(11), kind(per_image=per_image)
    assert float(mean_iou(ids, prediction)) == 1
    assert np.flatnonzero(mean_iou.confusion().sum(0) + mean_iou.confusion().sum(1)).tolist() == [0, 1, 2, 3, 4]
    assert float(loss(ids, prediction)) < 0.01
    assert float(loss(ids, prediction)) == pytest.approx(float(loss(ids, prediction[..., :5])), abs=1e-6)
    assert float(IOUScore(per_image=per_image)(ids, prediction)) > 0.99


@pytest.mark.parametrize("kind", REGION)
def test_one_predicted_pixel_makes_a_class_present(kind):
    ids = np.random.default_rng(4).integers(0, 2, (2, 8, 9))
    predicted = ids.copy()
    predicted[0, 0, 0] = 2
    assert float(kind()(ids, probabilities_for(predicted, 4, correct=0.97))) > 1 / 3 * 0.9
    assert float(IOUScore()(ids, probabilities_for(predicted, 4, correct=0.97))) < 0.7


def test_hard_prediction_includes_classes_that_are_not_selected():
    """Channel 2 is the larger of the selected channels 1 and 2, but channel 0 is the argmax of every pixel."""
    prediction = np.tile([0.9, 0.02, 0.08], (1, 2, 3, 1))
    assert float(DiceLoss(class_indexes=[1, 2])(np.zeros((1, 2, 3)), prediction)) == 0


@pytest.mark.parametrize(("logit", "costs"), [(-0.1, False), (0.1, True)])
def test_threshold_is_0_for_logits_and_one_half_for_probabilities(logit, costs):
    truth, logits = np.zeros((1, 2, 3)), np.full((1, 2, 3, 1), logit)
    assert (float(LovaszHingeLoss(from_logits=True)(truth, logits)) > 0) == costs
    for kind in (*REGION, LovaszHingeLoss):
        assert (float(kind()(truth, 1 / (1 + np.exp(-logits)))) > 0) == costs


@pytest.mark.parametrize("kind", [*REGION, LovaszHingeLoss])
def test_empty_truth_and_prediction_cost_nothing(kind):
    assert float(kind()(np.zeros((2, 5, 6)), np.zeros((2, 5, 6, 1)))) == 0


EMPTY, FALSE_POSITIVES = np.zeros((2, 5, 6)), np.full((2, 5, 6, 1), 0.75)  # 45 soft pixels


@pytest.mark.parametrize(("kind", "weight"), [(JaccardLoss, 1), (DiceLoss, 1 / 2), (TverskyLoss, 0.3)])
def test_false_positives_on_an_empty_image_give_loss_1_and_almost_no_gradient(kind, weight, gradient):
    """The score is s / (weight * 45 + s) with s = 1e-5, or 0.5e-5 for Dice, so its gradient is almost 0."""
    smooth = 0.5e-5 if kind is DiceLoss else 1e-5
    assert float(kind()(EMPTY, FALSE_POSITIVES)) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(gradient(kind(), EMPTY, FALSE_POSITIVES), smooth / (weight * 45**2), rtol=1e-3)
    assert gradient(kind() + BinaryCELoss(), EMPTY, FALSE_POSITIVES).min() > 0.01


def test_lovasz_on_an_empty_image_is_the_largest_error_and_only_it_has_a_gradient(gradient):
    prediction = FALSE_POSITIVES.copy()
    prediction[1, 2, 3] = 0.9
    assert float(LovaszSoftmaxLoss()(EMPTY, prediction)) == pytest.approx(0.9)
    np.testing.assert_array_equal(gradient(LovaszSoftmaxLoss(), EMPTY, prediction), prediction == 0.9)


def test_false_positives_on_an_empty_image_give_a_matthews_loss_near_1():
    assert float(MCCLoss()(EMPTY, FALSE_POSITIVES)) > 0.9


def test_per_image_a_class_is_averaged_over_the_images_that_contain_it():
    ids = np.uint8([[[0, 0, 0, 1]], [[0, 0, 0, 0]], [[1, 1, 0, 0]]])
    prediction = np.eye(2)[np.uint8([[[0, 0, 1, 1]], [[0, 0, 0, 0]], [[1, 0, 0, 0]]])]
    ious_of_class_0, ious_of_class_1 = [2 / 3, 1, 2 / 3], [1 / 2, 1 / 2]  # the second image has no class 1
    expected = 1 - (np.mean(ious_of_class_0) + np.mean(ious_of_class_1)) / 2
    assert float(JaccardLoss(per_image=True, smooth=0)(ids, prediction)) == pytest.approx(expected)
    assert float(LovaszSoftmaxLoss(per_image=True)(ids, prediction)) == pytest.approx(expected)


@pytest.mark.parametrize("kind", [*REGION, LovaszHingeLoss, partial(LovaszHingeLoss, from_logits=True)])
def test_per_image_an_image_of_ignored_pixels_is_excluded(kind):
    random = np.random.default_rng(2)
    ids, prediction = random.integers(0, 2, (2, 5, 6)), random.uniform(0.1, 0.9, (2, 5, 6, 1))
    loss = kind(per_image=True, ignore=255)
    first_twice = float(loss(ids[[0, 0]], prediction[[0, 0]]))
    ids[1] = 255
    assert float(loss(ids, prediction)) == pytest.approx(first_twice, rel=1e-6)


def test_ignored_pixel_with_the_largest_error_has_no_effect():
    truth, logits = np.uint8([[[255, 1, 1]]]), np.float32([0, 0.5, 3]).reshape(1, 1, 3, 1)
    assert float(LovaszHingeLoss(from_logits=True, ignore=255)(truth, logits)) == 0.25  # half the second one's error


def test_weights_stay_with_their_classes_if_one_is_excluded():
    ids = np.uint8([[[0, 0, 2, 2]]])
    prediction = np.eye(3)[np.uint8([[[0, 2, 2, 2]]])]
    loss = JaccardLoss([2.0, 50.0, 3.0], smooth=0)
    assert float(loss(ids, prediction)) == pytest.approx(1 - (2 * 1 / 2 + 3 * 2 / 3) / 2)
