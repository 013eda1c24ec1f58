"""Value and gradient of every loss equal its published formula, on every backend."""

from functools import partial

import numpy as np
import pytest

from maskwright.losses import (
    BinaryCELoss,
    BinaryFocalLoss,
    CategoricalCELoss,
    CategoricalFocalLoss,
    DiceLoss,
    FocalTverskyLoss,
    JaccardLoss,
    LovaszHingeLoss,
    LovaszSoftmaxLoss,
    MCCLoss,
    TverskyLoss,
)
from tests.losses import reference

WEIGHTS = [0.5, 2.0, 0.7]
ROWS = {
    "jaccard": (JaccardLoss(), reference.jaccard),
    "jaccard weighted, per image": (
        JaccardLoss(WEIGHTS, per_image=True, smooth=0.5),
        partial(reference.jaccard, weights=WEIGHTS, per_image=True, smooth=0.5),
    ),
    "dice": (DiceLoss(), reference.dice),
    "dice beta 2": (DiceLoss(2, WEIGHTS, smooth=0.3), partial(reference.dice, beta=2, weights=WEIGHTS, smooth=0.3)),
    "dice per image": (DiceLoss(beta=0.5, per_image=True), partial(reference.dice, beta=0.5, per_image=True)),
    "tversky": (TverskyLoss(alpha=0.2, beta=0.9), partial(reference.tversky, alpha=0.2, beta=0.9)),
    "focal tversky": (
        FocalTverskyLoss(alpha=0.2, beta=0.9, gamma=4 / 3),
        partial(reference.tversky, alpha=0.2, beta=0.9, exponent=0.75),
    ),
    "mcc": (MCCLoss(smooth=0.1), partial(reference.matthews, smooth=0.1)),
    "binary cross entropy": (BinaryCELoss(), reference.binary_cross_entropy),
    "categorical cross entropy": (CategoricalCELoss(), reference.categorical_cross_entropy),
    "categorical cross entropy weighted": (
        CategoricalCELoss(WEIGHTS),
        partial(reference.categorical_cross_entropy, weights=WEIGHTS),
    ),
    "binary focal": (BinaryFocalLoss(0.3, 1.5), partial(reference.binary_focal, alpha=0.3, gamma=1.5)),
    "categorical focal": (CategoricalFocalLoss(0.3, 1.5), partial(reference.categorical_focal, alpha=0.3, gamma=1.5)),
    "lovasz hinge": (LovaszHingeLoss(), reference.lovasz_hinge),
    "lovasz softmax": (LovaszSoftmaxLoss(), reference.lovasz_softmax),
    "lovasz softmax per image": (LovaszSoftmaxLoss(per_image=True), partial(reference.lovasz_softmax, per_image=True)),
}


@pytest.fixture(scope="module")
def batch():
    """One-hot truth (2, 5, 6, 3) with every class in every image, and probabilities that do not sum to 1."""
    random = np.random.default_rng(7)
    ids = np.stack([random.permutation(np.arange(30) % 3).reshape(5, 6) for _ in range(2)])
    return np.eye(3)[ids], random.uniform(0.05, 0.95, (2, 5, 6, 3))


@pytest.mark.parametrize("row", ROWS)
def test_value_equals_the_published_formula(row, batch):
    loss, formula = ROWS[row]
    truth, prediction = batch
    assert float(loss(truth, prediction)) == pytest.approx(formula(truth, prediction), rel=1e-5)


@pytest.mark.parametrize("row", ROWS)
def test_gradient_equals_that_of_the_published_formula(row, batch, gradient):
    loss, formula = ROWS[row]
    truth, prediction = batch
    expected = reference.numerical_gradient(partial(formula, truth), prediction)
    np.testing.assert_allclose(gradient(loss, truth, prediction), expected, rtol=1e-3, atol=1e-5)


def test_alpha_weights_false_positives_and_beta_false_negatives():
    truth = np.float32([1, 1, 1, 0, 0]).reshape(1, 1, 5)
    prediction = np.float32([1, 0, 0, 1, 0]).reshape(1, 1, 5, 1)  # 1 true positive, 1 false positive, 2 false negatives
    for kind, power in ((TverskyLoss, 1), (partial(FocalTverskyLoss, gamma=2), 0.5)):
        for alpha, beta in ((0.3, 0.7), (0.7, 0.3)):
            expected = (1 - 1 / (1 + alpha * 1 + beta * 2)) ** power
            assert float(kind(alpha=alpha, beta=beta, smooth=0)(truth, prediction)) == pytest.approx(expected)


def test_lovasz_softmax_of_a_hard_prediction_is_1_minus_iou():
    truth = np.uint8([[[0, 0, 1, 1, 2, 2, 2]]])
    prediction = np.eye(3)[np.uint8([[[0, 1, 1, 1, 2, 0, 2]]])]
    assert float(LovaszSoftmaxLoss()(truth, prediction)) == pytest.approx(1 - np.mean([1 / 3, 2 / 3, 2 / 3]))


def test_lovasz_hinge_of_logits_equals_that_of_their_probabilities():
    random = np.random.default_rng(3)
    truth, logits = random.integers(0, 2, (2, 3, 4)), random.normal(0, 2, (2, 3, 4, 1))
    from_logits = float(LovaszHingeLoss(from_logits=True)(truth, logits))
    assert from_logits == pytest.approx(reference.lovasz(np.maximum(0, 1 - logits[..., 0] * (2 * truth - 1)), truth))
    assert float(LovaszHingeLoss()(truth, 1 / (1 + np.exp(-logits)))) == pytest.approx(from_logits, rel=1e-5)


def test_lovasz_gradient_is_precise_on_a_million_pixels(gradient):
    """A million equal errors of one class have the same gradient to four digits."""
    pixels = 1_000_000
    slopes = gradient(LovaszSoftmaxLoss(), np.ones((1, 1, pixels)), np.full((1, 1, pixels, 1), 0.5))
    np.testing.assert_allclose(slopes, -1 / pixels, rtol=1e-4)


def test_selected_classes_are_scored_alone_with_weights_in_their_order(batch):
    truth, prediction = batch
    two_classes = DiceLoss(class_indexes=[2, 0], class_weights=[3.0, 1.0])(truth, prediction)
    first, third = (reference.dice(truth[..., k : k + 1], prediction[..., k : k + 1]) for k in (0, 2))
    assert float(two_classes) == pytest.approx(1 - ((1 - third) * 3 + (1 - first) * 1) / 2, rel=1e-5)
    assert float(DiceLoss(class_indexes=2)(truth, prediction)) == pytest.approx(third, rel=1e-5)


def test_matthews_loss_of_hard_masks_is_1_minus_the_correlation():
    random = np.random.default_rng(5)
    truth, prediction = random.integers(0, 2, (2, 4, 30, 30))[..., None]
    correlation = np.corrcoef(truth.ravel(), prediction.ravel())[0, 1]
    assert float(MCCLoss(smooth=0)(truth, prediction)) == pytest.approx(1 - correlation, abs=1e-6)
