"""Loading of Keras weights files."""

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
def test_loaded_weights_give_equal_outputs(tmp_path, given):
    network = randomise(small_network())
    network.save_weights(tmp_path / "own.weights.h5")
    loaded = small_network()
    load_weights(loaded, given(tmp_path / "own.weights.h5"), argument="weights")
    np.testing.assert_array_equal(infer(loaded, IMAGES), infer(network, IMAGES))


def test_error_for_imagenet_names_encoder_weights():
    with pytest.raises(MissingWeights, match=r"^weights='imagenet': .* encoder_weights='imagenet'"):
        load_weights(small_network(), "imagenet", argument="weights")


@pytest.mark.parametrize("name", ["nowhere.weights.h5", "here.h5"])
def test_file_must_exist_and_end_in_weights_h5(tmp_path, name):
    (tmp_path / "here.h5").touch()
    with pytest.raises(MissingWeights, match=rf"^weights='.*{name}': .*existing \.weights\.h5 "):
        load_weights(small_network(), tmp_path / name, argument="weights")


def test_number_is_not_a_weights_file():
    with pytest.raises(MissingWeights, match=r"^encoder_weights=5: .*existing \.weights\.h5 "):
        load_weights(small_network(), 5, argument="encoder_weights")  # type: ignore[arg-type]


def test_weights_of_another_network_are_an_error(tmp_path):
    small_network(filters=5).save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(UnusableWeights, match=r"^weights='.*other\.weights\.h5': .* for the network small\."):
        load_weights(small_network(), tmp_path / "other.weights.h5", argument="weights")


def test_file_in_another_format_is_an_error(tmp_path):
    (tmp_path / "text.weights.h5").write_text("not numbers")
    with pytest.raises(UnusableWeights, match=r"^weights='.*text\.weights\.h5': .* for the network small\."):
        load_weights(small_network(), tmp_path / "text.weights.h5", argument="weights")
