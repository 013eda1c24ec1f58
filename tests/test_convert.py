"""Keras 2 files opened as networks: recognised, built anew, filled; refused where the masks would not be the same."""

import numpy as np
import pytest

from maskwright.convert import load_legacy
from maskwright.errors import InputError
from maskwright.models import Unet
from maskwright.networks import build_backbone
from tests.weights.legacy_files import described, layers_of, write_numbers, write_whole

IMAGES = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 3)).astype("float32")
SMALL = (16, 8, 8, 8, 8)


@pytest.fixture(scope="module")
def network():
    """A Unet with random weights and statistics."""
    chance = np.random.default_rng(1)
    network = Unet("resnet18", classes=2, decoder_filters=SMALL)
    for variable in network.variables:
        variable.assign(np.abs(np.array(variable) + chance.normal(0, 0.02, variable.shape)))
    return network


@pytest.fixture
def whole(network, tmp_path):
    def write(*more, output="sigmoid", optimizer=False):
        layers = [*described(network), *more]
        return write_whole(tmp_path / "old.h5", layers_of(network), layers, output=output, optimizer=optimizer)

    return write


def test_a_whole_model_is_built_anew_and_gives_the_same_masks(network, whole):
    again = load_legacy(whole())
    np.testing.assert_array_equal(again.predict_on_batch(IMAGES), network.predict_on_batch(IMAGES))


def test_weights_alone_need_the_activation_and_say_so(network, tmp_path):
    file = write_numbers(tmp_path / "old.h5", layers_of(network))
    with pytest.raises(InputError, match=r"do not tell activation; give them, as in load_legacy\(file, activation='s"):
        load_legacy(file)
    again = load_legacy(file, activation="sigmoid")
    np.testing.assert_array_equal(again.predict_on_batch(IMAGES), network.predict_on_batch(IMAGES))


def test_a_network_that_is_given_is_filled_and_returned(network, tmp_path):
    again = Unet("resnet18", classes=2, decoder_filters=SMALL, activation=None)
    file = write_numbers(tmp_path / "old.h5", layers_of(network))
    assert load_legacy(file, again) is again
    logits = again.predict_on_batch(IMAGES)
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), network.predict_on_batch(IMAGES), atol=1e-6)
    with pytest.raises(InputError, match="expected no arguments to build a network when one is given"):
        load_legacy(file, again, activation="sigmoid")


def test_the_articles_first_unit_is_built_where_the_projection_is_missing(tmp_path):
    encoder = build_backbone("resnet18", first_unit="identity")
    skips = ["stage4_unit1_relu1", "stage3_unit1_relu1", "stage2_unit1_relu1", "relu0"]
    article = Unet(encoder, decoder_filters=SMALL, encoder_features=skips)
    again = load_legacy(write_numbers(tmp_path / "old.h5", layers_of(article)), activation="sigmoid")
    assert "stage1_unit1_sc" not in layers_of(again)
    np.testing.assert_array_equal(again.predict_on_batch(IMAGES), article.predict_on_batch(IMAGES))


def test_optimizer_state_is_left_and_that_is_said(whole):
    with pytest.warns(UserWarning, match="old.h5: the optimizer's state is not read"):
        load_legacy(whole(optimizer=True))


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("Lambda", {"name": "lambda_7", "module": "__main__", "function": ["gASV", None, None]}),
        ("Lambda", {"name": "contrast"}),
        ("Rescaling", {"name": "rescaling", "scale": 2.0}),
        ("UpSampling2D", {"name": "up_sampling2d_1"}),
    ],
)
def test_an_added_layer_without_weights_is_refused_by_name(whole, kind, settings):
    words = rf"layer {settings['name']} \({kind}\) belongs to no unet on resnet18"
    with pytest.raises(InputError, match=words):
        load_legacy(whole((kind, settings)))


def test_layers_the_reference_library_leaves_to_keras_to_name_are_no_strangers(whole):
    lambdas = {"name": "lambda_3", "module": "classification_models.models._common_blocks"}
    load_legacy(whole(("Lambda", lambdas), ("ZeroPadding2D", {"name": "zero_padding2d_4"}), ("Add", {"name": "add"})))
