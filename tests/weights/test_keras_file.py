"""Weights that Keras wrote, from files the user names."""

from pathlib import Path

import keras
import numpy as np
import pytest

from maskwright.weights.keras_file import MissingWeights, UnusableWeights, load_weights
from tests.networks.randomise import infer, randomise

IMAGES = np.random.default_rng(5).normal(size=(1, 8, 8, 3)).astype("float32")


def small_network(*, filters=4):
    image = keras.Input((8, 8, 3))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(filters, 3)(image))
    return keras.Model(image, x, name="small")


@pytest.mark.parametrize("given", [str, Path])
def test_a_networks_own_weights_make_it_answer_again(tmp_path, given):
    network = randomise(small_network())
    network.save_weights(tmp_path / "own.weights.h5")
    again = small_network()
    load_weights(again, given(tmp_path / "own.weights.h5"), argument="weights")
    np.testing.assert_array_equal(infer(again, IMAGES), infer(network, IMAGES))


def test_imagenet_is_shown_where_it_goes():
    with pytest.raises(
        MissingWeights, match=r"^weights='imagenet': .* are for the encoder: encoder_weights='imagenet'"
    ):
        load_weights(small_network(), "imagenet", argument="weights")


@pytest.mark.parametrize("name", ["nowhere.weights.h5", "here.h5"])
def test_a_weights_file_exists_and_has_keras_suffix(tmp_path, name):
    (tmp_path / "here.h5").touch()
    with pytest.raises(MissingWeights, match=rf"^weights='.*{name}': expected the path of an existing \.weights\.h5 f"):
        load_weights(small_network(), tmp_path / name, argument="weights")


def test_a_number_is_no_weights_file():
    with pytest.raises(MissingWeights, match=r"^encoder_weights=5: expected the path of an existing"):
        load_weights(small_network(), 5, argument="encoder_weights")  # type: ignore[arg-type]


def test_weights_of_another_network_are_refused(tmp_path):
    small_network(filters=5).save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(UnusableWeights, match=r"^weights='.*other\.weights\.h5': .* for the network small\."):
        load_weights(small_network(), tmp_path / "other.weights.h5", argument="weights")


def test_a_file_that_is_no_hdf5_is_refused(tmp_path):
    (tmp_path / "text.weights.h5").write_text("not numbers")
    with pytest.raises(UnusableWeights, match=r"^weights='.*text\.weights\.h5': .* for the network small\."):
        load_weights(small_network(), tmp_path / "text.weights.h5", argument="weights")
