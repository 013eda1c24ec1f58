"""Losses add and scale; names and words stand for the losses they say; wrong options are refused at once."""

from functools import reduce
from operator import add

import keras
import numpy as np
import pytest

from maskwright import losses
from maskwright.errors import UnknownChoice, WrongArgument
from maskwright.losses import (
    LOSSES,
    CategoricalCELoss,
    DiceLoss,
    FocalTverskyLoss,
    JaccardLoss,
    SumOfLosses,
    loss_of_words,
)
from tests.losses import reference

random = np.random.default_rng(11)
TRUTH = np.eye(3)[random.permutation(np.arange(60) % 3).reshape(2, 5, 6)]
GUESS = random.uniform(0.05, 0.95, TRUTH.shape)


def test_sums_and_multiples_are_the_sums_and_multiples_of_the_values():
    first, second, third = (float(kind()(TRUTH, GUESS)) for kind in (CategoricalCELoss, DiceLoss, JaccardLoss))
    loss = 0.5 * (CategoricalCELoss() + DiceLoss() * 2) + np.float32(3) * JaccardLoss()
    assert float(loss(TRUTH, GUESS)) == pytest.approx(0.5 * (first + 2 * second) + 3 * third)


def test_a_sum_of_sums_is_one_sum_with_a_name_made_of_its_terms():
    loss = (DiceLoss() + JaccardLoss()) + 0.5 * DiceLoss()
    assert isinstance(loss, SumOfLosses)
    assert loss.name == "dice_loss_plus_jaccard_loss_plus_0.5_times_dice_loss"
    assert len(loss.losses) == 3


def test_python_s_sum_of_losses_is_their_sum():
    terms = [DiceLoss(), JaccardLoss(), CategoricalCELoss()]
    assert sum(terms).get_config() == (terms[0] + terms[1] + terms[2]).get_config()
    with pytest.raises(TypeError, match="unsupported operand"):
        1 + terms[0]


def test_a_nested_expression_comes_back_from_its_configuration():
    loss = 0.5 * (DiceLoss(beta=2, ignore=255) + 0.25 * JaccardLoss([1, 2, 3], [2, 0, 1])) + CategoricalCELoss()
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert again.get_config() == loss.get_config()
    assert float(again(TRUTH, GUESS)) == float(loss(TRUTH, GUESS))


@pytest.mark.parametrize("other", ["dice", 1, None, keras.losses.Dice()])
def test_a_loss_adds_to_losses_of_its_kind_only(other):
    with pytest.raises(TypeError, match="unsupported operand"):
        DiceLoss() + other


def test_a_loss_is_multiplied_by_numbers_only():
    with pytest.raises(TypeError, match="unsupported operand"):
        DiceLoss() * DiceLoss()
    with pytest.raises(WrongArgument, match="factor=-1: expected a finite number from 0 up"):
        DiceLoss() * -1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"smooth": -1.0}, "smooth=-1.0: expected a finite number from 0 up"),
        ({"beta": float("nan")}, "beta=nan: expected a finite number from 0 up"),
        ({"class_weights": [1, -1]}, "class_weights=-1: expected a finite number from 0 up"),
        ({"class_weights": 2.0}, "class_weights=2.0: expected a number for each class"),
        ({"class_indexes": []}, r"class_indexes=\[\]: expected the numbers of one or more channels, each once"),
        ({"class_indexes": [1, 1]}, "each once"),
        ({"class_indexes": -1}, "class_indexes=-1"),
        ({"ignore": 0.5}, "ignore=0.5: expected the id of pixels to leave out, a whole number"),
    ],
)
def test_wrong_options_are_refused_when_given(options, words):
    with pytest.raises(WrongArgument, match=words):
        DiceLoss(**options)


def test_focal_tversky_needs_a_gamma_above_0():
    with pytest.raises(WrongArgument, match="gamma=0: expected a number above 0"):
        FocalTverskyLoss(gamma=0)


def test_options_from_numpy_are_kept_as_plain_numbers():
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
def test_the_reference_library_s_names_have_its_values(name):
    expected = sum(formula(TRUTH, GUESS) for formula in FORMULAS[name])
    assert float(getattr(losses, name)(TRUTH, GUESS)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("word", LOSSES)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_word_makes_a_loss_for_its_head(word, channels):
    truth = TRUTH.argmax(-1) % max(channels, 2)
    truth[0, 0, 0] = 255
    loss = loss_of_words({word: 1}, channels=channels, class_weights=[2.0] * channels, ignore=255)
    right = truth[..., None] == (1 if channels == 1 else np.arange(3))
    nearly_right, nearly_wrong = np.where(right, 0.9, 0.1), np.where(right, 0.1, 0.9)
    assert float(loss(truth, nearly_right)) < float(loss(truth, nearly_wrong))
    elsewhere = nearly_wrong.copy()
    elsewhere[0, 0, 0] = 0.123  # the ignored pixel
    assert float(loss(truth, elsewhere)) == pytest.approx(float(loss(truth, nearly_wrong)))
    unweighted = loss_of_words({word: 1}, channels=channels, ignore=255)
    assert abs(float(loss(truth, nearly_wrong)) - float(unweighted(truth, nearly_wrong))) > 1e-3


def test_words_add_with_their_weights():
    loss = loss_of_words({"dice": 2, "jaccard": 0.5}, channels=3)
    expected = 2 * float(losses.dice_loss(TRUTH, GUESS)) + 0.5 * float(losses.jaccard_loss(TRUTH, GUESS))
    assert float(loss(TRUTH, GUESS)) == pytest.approx(expected)


def test_the_word_for_cross_entropy_costs_a_pixel_the_same_however_many_classes_there_are():
    truth = np.zeros((1, 2, 2), int)
    for channels in (2, 5):
        prediction = np.full((1, 2, 2, channels), 0.5 / (channels - 1))
        prediction[..., 0] = 0.5
        assert float(loss_of_words({"cross_entropy": 1}, channels=channels)(truth, prediction)) == pytest.approx(np.log(2))


def test_an_unknown_word_is_told_the_nearest():
    with pytest.raises(UnknownChoice, match=r"loss='dise' is not known; expected one of cross_entropy, .*'dice'\?"):
        loss_of_words({"dise": 1}, channels=3)


def test_every_public_name_is_there():
    assert all(hasattr(losses, name) for name in losses.__all__)
