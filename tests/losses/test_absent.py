"""Classes and images in neither truth nor prediction are left out of a loss; those falsely predicted are not."""

from functools import partial

import numpy as np
import pytest

from maskwright.losses import (
    DiceLoss,
    FocalTverskyLoss,
    JaccardLoss,
    LovaszHingeLoss,
    LovaszSoftmaxLoss,
    MCCLoss,
    TverskyLoss,
)

REGION = [JaccardLoss, DiceLoss, TverskyLoss, FocalTverskyLoss, LovaszSoftmaxLoss, MCCLoss]


@pytest.mark.parametrize("kind", REGION)
def test_a_class_in_neither_is_left_out(kind):
    random = np.random.default_rng(1)
    ids, guess = random.integers(0, 2, (2, 5, 6)), random.uniform(0.1, 0.9, (2, 5, 6, 3))
    guess[..., 2] = 0
    assert float(kind()(ids, guess)) == pytest.approx(float(kind()(np.eye(2)[ids], guess[..., :2])), rel=1e-6)


@pytest.mark.parametrize("kind", [*REGION, LovaszHingeLoss])
def test_nothing_in_either_costs_nothing(kind):
    assert float(kind()(np.zeros((2, 5, 6)), np.zeros((2, 5, 6, 1)))) == 0


@pytest.mark.parametrize("kind", [JaccardLoss, DiceLoss, TverskyLoss, FocalTverskyLoss, LovaszSoftmaxLoss])
def test_predicting_everything_on_an_empty_image_costs_everything_and_is_unlearned(kind, gradient):
    truth = np.zeros((2, 5, 6))
    assert float(kind()(truth, np.ones((2, 5, 6, 1)))) == pytest.approx(1, abs=1e-4)
    assert gradient(kind(), truth, np.full((2, 5, 6, 1), 0.01)).max() > 0


def test_matthews_is_not_won_on_an_empty_image():
    assert float(MCCLoss()(np.zeros((2, 5, 6)), np.full((2, 5, 6, 1), 0.5))) > 0.9


def test_per_image_a_class_is_averaged_over_the_images_that_have_it():
    ids = np.uint8([[[0, 0, 0, 1]], [[0, 0, 0, 0]], [[1, 1, 0, 0]]])
    guess = np.eye(2)[np.uint8([[[0, 0, 1, 1]], [[0, 0, 0, 0]], [[1, 0, 0, 0]]])]
    of_class_0, of_class_1 = [2 / 3, 1, 2 / 3], [1 / 2, 1 / 2]  # the second image has no class 1
    expected = 1 - (np.mean(of_class_0) + np.mean(of_class_1)) / 2
    assert float(JaccardLoss(per_image=True, smooth=0)(ids, guess)) == pytest.approx(expected)
    assert float(LovaszSoftmaxLoss(per_image=True)(ids, guess)) == pytest.approx(expected)


@pytest.mark.parametrize("kind", [*REGION, LovaszHingeLoss, partial(LovaszHingeLoss, from_logits=True)])
def test_per_image_an_image_of_ignored_pixels_is_left_out(kind):
    random = np.random.default_rng(2)
    ids, guess = random.integers(0, 2, (2, 5, 6)), random.uniform(0.1, 0.9, (2, 5, 6, 1))
    loss = kind(per_image=True, ignore=255)
    first_twice = float(loss(ids[[0, 0]], guess[[0, 0]]))
    ids[1] = 255
    assert float(loss(ids, guess)) == pytest.approx(first_twice, rel=1e-6)


def test_an_ignored_pixel_with_the_largest_error_on_an_empty_image_does_no_harm():
    truth, logits = np.uint8([[[255, 0, 0]]]), np.float32([0, -0.5, -3]).reshape(1, 1, 3, 1)
    assert float(LovaszHingeLoss(from_logits=True, ignore=255)(truth, logits)) == 0.5  # the error of the second pixel


def test_weights_go_with_their_classes_when_one_is_left_out():
    ids = np.uint8([[[0, 0, 2, 2]]])
    guess = np.eye(3)[np.uint8([[[0, 2, 2, 2]]])]
    loss = JaccardLoss([2.0, 50.0, 3.0], smooth=0)
    assert float(loss(ids, guess)) == pytest.approx(1 - (2 * 1 / 2 + 3 * 2 / 3) / 2)
