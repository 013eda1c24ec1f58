"""Sums and multiples of losses, losses by name, and checks of arguments."""

from functools import reduce
from operator import add

import keras
import numpy as np
import pytest

from maskwright import losses
from maskwright.errors import UnknownChoice, WrongArgument
from maskwright.losses import (
    LOSSES_BY_NAME,
    CategoricalCELoss,
    DiceLoss,
    FocalTverskyLoss,
    JaccardLoss,
    SumOfLosses,
    loss_from_names,
)
from tests.losses import reference

random = np.random.default_rng(11)
TRUTH = np.eye(3)[random.permutation(np.arange(60) % 3).reshape(2, 5, 6)]
PREDICTION = random.uniform(0.05, 0.95, TRUTH.shape)


def test_sum_and_multiple_have_the_values_of_their_terms():
    first, second, third = (float(kind()(TRUTH, PREDICTION)) for kind in (CategoricalCELoss, DiceLoss, JaccardLoss))
    loss = 0.5 * (CategoricalCELoss() + DiceLoss() * 2) + np.float32(3) * JaccardLoss()
    assert float(loss(TRUTH, PREDICTION)) == pytest.approx(0.5 * (first + 2 * second) + 3 * third)


def test_sum_of_sums_is_flat_and_named_after_its_terms():
    loss = (DiceLoss() + JaccardLoss()) + 0.5 * DiceLoss()
    assert isinstance(loss, SumOfLosses)
    assert loss.name == "dice_loss_plus_jaccard_loss_plus_0.5_times_dice_loss"
    assert len(loss.losses) == 3


def test_builtin_sum_adds_losses():
    terms = [DiceLoss(), JaccardLoss(), CategoricalCELoss()]
    assert sum(terms).get_config() == (terms[0] + terms[1] + terms[2]).get_config()
    with pytest.raises(TypeError, match="unsupported operand"):
        1 + terms[0]


def test_nested_expression_is_restored_from_its_configuration():
    loss = 0.5 * (DiceLoss(beta=2, ignore=255) + 0.25 * JaccardLoss([1, 2, 3], [2, 0, 1])) + CategoricalCELoss()
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert restored.get_config() == loss.get_config()
    assert float(restored(TRUTH, PREDICTION)) == float(loss(TRUTH, PREDICTION))


@pytest.mark.parametrize("other", ["dice", 1, None, keras.losses.Dice()])
def test_adding_anything_but_a_segmentation_loss_is_a_type_error(other):
    with pytest.raises(TypeError, match="unsupported operand"):
        DiceLoss() + other


def test_multiplying_by_anything_but_a_non_negative_number_is_an_error():
    with pytest.raises(TypeError, match="unsupported operand"):
        DiceLoss() * DiceLoss()
    with pytest.raises(WrongArgument, match=r"^factor=-1: expected .* 0"):
        DiceLoss() * -1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"smooth": -1.0}, "^smooth=-1.0: expected .* 0"),
        ({"beta": float("nan")}, "^beta=nan: expected .*finite"),
        ({"class_weights": [1, -1]}, "^class_weights=-1: expected .* 0"),
        ({"class_weights": 2.0}, "^class_weights=2.0: expected .*per class"),
        ({"class_indexes": []}, r"^class_indexes=\[\]: expected one or more"),
        ({"class_indexes": [1, 1]}, r"^class_indexes=\[1, 1\]: expected .*distinct"),
        ({"class_indexes": -1}, "^class_indexes=-1: expected .*from 0"),
        ({"ignore": 0.5}, "^ignore=0.5: expected .*integer"),
    ],
)
def test_unusable_arguments_raise_at_construction(options, message):
    with pytest.raises(WrongArgument, match=message):
        DiceLoss(**options)


def test_focal_tversky_gamma_of_0_is_an_error():
    with pytest.raises(WrongArgument, match=r"^gamma=0: expected .* 0"):
        FocalTverskyLoss(gamma=0)


def test_numpy_arguments_are_stored_as_plain_numbers():
    config = DiceLoss(np.float32(2), np.ones(2), class_indexes=np.arange(2), ignore=np.uint8(255)).get_config()
    assert config["class_weights"] == [1.0, 1.0]
    assert config["class_indexes"] == [0, 1]
    assert {type(config["beta"]), type(config["ignore"]), type(config["class_indexes"][0])} == {float, int}


FORMULAS = {
    "jaccard_loss": [reference.jaccard],
    "dice_loss": [reference.dice],
    "binary_focal_loss": [lambda t, p: reference.binary_focal(t, p, alpha=0.25, gamma=2)],
    "categorical_focal_loss": [lambda t, p: reference.categorical_focal(t, p, alpha=0.25, gamma=2)],
    "binary_crossentropy": [reference.binary_cross_entropy],
    "categorical_crossentropy": [reference.categorical_cross_entropy],
}
COMBINED = {
    "bce_dice_loss": ("binary_crossentropy", "dice_loss"),
    "bce_jaccard_loss": ("binary_crossentropy", "jaccard_loss"),
    "cce_dice_loss": ("categorical_crossentropy", "dice_loss"),
    "cce_jaccard_loss": ("categorical_crossentropy", "jaccard_loss"),
    "binary_focal_dice_loss": ("binary_focal_loss", "dice_loss"),
    "binary_focal_jaccard_loss": ("binary_focal_loss", "jaccard_loss"),
    "categorical_focal_dice_loss": ("categorical_focal_loss", "dice_loss"),
    "categorical_focal_jaccard_loss": ("categorical_focal_loss", "jaccard_loss"),
}
FORMULAS |= {name: reduce(add, (FORMULAS[term] for term in terms)) for name, terms in COMBINED.items()}


@pytest.mark.parametrize("name", FORMULAS)
def test_segmentation_models_names_have_its_values(name):
    expected = sum(formula(TRUTH, PREDICTION) for formula in FORMULAS[name])
    assert float(getattr(losses, name)(TRUTH, PREDICTION)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", LOSSES_BY_NAME)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_name_gives_a_loss_for_its_activation(name, channels):
    truth = TRUTH.argmax(-1) % max(channels, 2)
    truth[0, 0, 0] = 255
    loss = loss_from_names({name: 1}, channels=channels, class_weights=[2.0] * channels, ignore=255)
    correct = truth[..., None] == (1 if channels == 1 else np.arange(3))
    good, bad = np.where(correct, 0.9, 0.1), np.where(correct, 0.1, 0.9)
    assert float(loss(truth, good)) < float(loss(truth, bad))
    changed = bad.copy()
    changed[0, 0, 0] = 0.123  # the ignored pixel
    assert float(loss(truth, changed)) == pytest.approx(float(loss(truth, bad)))
    unweighted = loss_from_names({name: 1}, channels=channels, ignore=255)
    assert abs(float(loss(truth, bad)) - float(unweighted(truth, bad))) > 1e-3


def test_named_losses_add_with_their_weights():
    loss = loss_from_names({"dice": 2, "jaccard": 0.5}, channels=3)
    expected = 2 * float(losses.dice_loss(TRUTH, PREDICTION)) + 0.5 * float(losses.jaccard_loss(TRUTH, PREDICTION))
    assert float(loss(TRUTH, PREDICTION)) == pytest.approx(expected)


def test_named_cross_entropy_of_a_pixel_is_independent_of_the_class_count():
    truth = np.zeros((1, 2, 2), int)
    for channels in (2, 5):
        prediction = np.full((1, 2, 2, channels), 0.5 / (channels - 1))
        prediction[..., 0] = 0.5
        assert float(loss_from_names({"cross_entropy": 1}, channels=channels)(truth, prediction)) == pytest.approx(
            np.log(2)
        )


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(UnknownChoice, match=r"loss='dise' .*cross_entropy, .*'dice'\?"):
        loss_from_names({"dise": 1}, channels=3)


def test_every_public_name_exists():
    assert all(hasattr(losses, name) for name in losses.__all__)
