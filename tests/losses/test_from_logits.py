"""Losses with ``from_logits=True``: values, gradients, extreme logits, configuration and sums."""

from functools import partial

import keras
import numpy as np
import pytest

from maskwright.losses import (
    BinaryCELoss,
    BinaryFocalLoss,
    CategoricalCELoss,
    CategoricalFocalLoss,
    DiceLoss,
    LogitsMixedWithProbabilities,
    LovaszHingeLoss,
    binary_cross_entropy,
    binary_focal,
    categorical_cross_entropy,
    categorical_focal,
)
from tests.losses import reference


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


def softmax(logits):
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


LOSSES = {
    "binary cross entropy": (BinaryCELoss, sigmoid, reference.binary_cross_entropy),
    "categorical cross entropy": (CategoricalCELoss, softmax, reference.categorical_cross_entropy),
    "binary focal": (
        partial(BinaryFocalLoss, 0.3, 1.5),
        sigmoid,
        partial(reference.binary_focal, alpha=0.3, gamma=1.5),
    ),
    "binary focal, gamma 0.5": (
        partial(BinaryFocalLoss, 0.3, 0.5),
        sigmoid,
        partial(reference.binary_focal, alpha=0.3, gamma=0.5),
    ),
    "categorical focal": (
        partial(CategoricalFocalLoss, 0.3, 1.5),
        softmax,
        partial(reference.categorical_focal, alpha=0.3, gamma=1.5),
    ),
    "categorical focal, gamma 0.5": (
        partial(CategoricalFocalLoss, 0.3, 0.5),
        softmax,
        partial(reference.categorical_focal, alpha=0.3, gamma=0.5),
    ),
}
random = np.random.default_rng(8)
IDS = random.integers(0, 3, (2, 5, 6))
LOGITS = random.normal(0, 1.5, (2, 5, 6, 3))
every_loss = pytest.mark.parametrize("name", LOSSES)


@every_loss
def test_value_and_gradient_equal_the_published_formula_of_the_activation(name, gradient):
    make, activation, formula = LOSSES[name]
    loss, truth = make(from_logits=True), np.eye(3)[IDS]
    assert float(loss(IDS, LOGITS)) == pytest.approx(formula(truth, activation(LOGITS)), rel=1e-5)
    expected = reference.numerical_gradient(lambda logits: formula(truth, activation(logits)), LOGITS)
    np.testing.assert_allclose(gradient(loss, IDS, LOGITS), expected, rtol=1e-3, atol=1e-6)


@every_loss
@pytest.mark.parametrize("options", [{}, {"class_weights": [0.5, 2.0], "class_indexes": [2, 0], "ignore": 1}])
def test_logits_and_their_probabilities_give_the_same_loss(name, options):
    make, activation, _ = LOSSES[name]
    from_logits = float(make(from_logits=True, **options)(IDS, LOGITS))
    assert from_logits == pytest.approx(float(make(**options)(IDS, activation(LOGITS))), rel=1e-5)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
@pytest.mark.parametrize("channels", [1, 2])
def test_logits_of_100_give_exact_values_and_finite_gradients(channels, gamma, gradient):
    """Each wrong pixel costs 100 for a sigmoid and 200 for a softmax with logits -100 and 100; clipping gives 16."""
    logits = np.float32([100, -100, 100, -100]).reshape(1, 2, 2, 1)
    truth = np.uint8([[[1, 0], [0, 1]]])  # right, right, wrong, wrong
    if channels == 1:
        cross_entropy, focal, wrong_cost = BinaryCELoss, BinaryFocalLoss, 100
    else:
        logits = np.concatenate([-logits, logits], axis=-1)
        cross_entropy, focal, wrong_cost = CategoricalCELoss, CategoricalFocalLoss, 200 / 2
    focal = partial(focal, 0.5, gamma)
    for loss, expected in ((cross_entropy(from_logits=True), 0.5), (focal(from_logits=True), 0.25)):
        assert float(loss(truth, logits)) == pytest.approx(expected * wrong_cost, rel=1e-5)
        slopes = gradient(loss, truth, logits)
        assert np.all(np.isfinite(slopes))
        assert np.all(abs(slopes[:, 1]) > 0.01)
        assert np.all(abs(slopes[:, 0]) < 1e-3)


@every_loss
def test_nan_logit_at_an_ignored_pixel_has_no_effect_on_other_gradients(name, gradient):
    make, _, _ = LOSSES[name]
    logits = LOGITS.copy()
    logits[IDS == 1] = np.nan
    loss = make(from_logits=True, ignore=1)
    slopes = gradient(loss, IDS, logits)
    assert np.isfinite(float(loss(IDS, logits)))
    np.testing.assert_array_equal(slopes, gradient(loss, IDS, np.where(np.isnan(logits), 0, logits)))
    assert np.all(slopes[IDS == 1] == 0)


@every_loss
def test_from_logits_is_in_the_configuration(name):
    loss = LOSSES[name][0](from_logits=True)
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert restored.get_config() == loss.get_config()
    assert restored.get_config()["from_logits"] is True
    assert float(restored(IDS, LOGITS)) == float(loss(IDS, LOGITS))


@pytest.mark.parametrize(
    ("function", "loss"),
    [
        (binary_cross_entropy, BinaryCELoss),
        (categorical_cross_entropy, CategoricalCELoss),
        (binary_focal, BinaryFocalLoss),
        (categorical_focal, CategoricalFocalLoss),
    ],
)
def test_functions_take_the_arguments_of_the_classes(function, loss):
    options = {"from_logits": True, "class_weights": [0.5, 2.0], "class_indexes": [2, 0], "ignore": 1}
    assert float(function(IDS, LOGITS, **options)) == float(loss(**options)(IDS, LOGITS))


def test_sum_of_losses_of_logits_takes_logits():
    truth, logits = IDS % 2, LOGITS[..., :1]
    terms = BinaryCELoss(from_logits=True), 0.5 * LovaszHingeLoss(from_logits=True)
    total = terms[0] + terms[1]
    assert total.from_logits
    assert float(total(truth, logits)) == pytest.approx(sum(float(term(truth, logits)) for term in terms), rel=1e-6)


@pytest.mark.parametrize("logits_first", [True, False])
def test_sum_of_a_loss_of_logits_and_a_region_loss_is_an_error(logits_first):
    terms = [2 * CategoricalCELoss(from_logits=True), DiceLoss()]
    first, second = terms if logits_first else terms[::-1]
    with pytest.raises(
        LogitsMixedWithProbabilities, match=r"2_times_cat.*from_logits=True.*dice_loss.*from_logits=False"
    ):
        first + second
