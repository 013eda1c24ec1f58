"""Weights from files the user names."""

import keras
import numpy as np
import pytest

from maskwright.networks import MissingWeights, Unet, UnusableWeights, build_backbone
from tests.networks.randomise import answer, randomise

FILTERS = (16, 16, 8, 8, 8)


def test_a_networks_own_weights_make_it_answer_again(tmp_path):
    file = tmp_path / "unet.weights.h5"
    network = randomise(Unet("resnet18", decoder_filters=FILTERS, activation=None))
    network.save_weights(file)
    images = np.random.default_rng(5).normal(size=(1, 32, 64, 3)).astype("float32")
    again = Unet("resnet18", decoder_filters=FILTERS, activation=None, weights=file)
    np.testing.assert_allclose(answer(again, images), answer(network, images), rtol=1e-6)


def test_encoder_weights_fill_the_encoder_and_nothing_else(tmp_path):
    file = tmp_path / "encoder.weights.h5"
    encoder = randomise(build_backbone("resnet18"))
    encoder.save_weights(file)
    network = Unet("resnet18", encoder_weights=str(file))
    for layer in encoder.layers:
        for ours, theirs in zip(network.get_layer(layer.name).weights, layer.weights, strict=True):
            np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    assert not network.get_layer("final_conv").bias.numpy().any()


def test_imagenet_is_told_that_it_is_not_here_yet():
    with pytest.raises(
        MissingWeights, match=r"^encoder_weights='imagenet': .*Published weights are not available.*None"
    ):
        Unet("resnet18", encoder_weights="imagenet")


@pytest.mark.parametrize("name", ["nowhere.weights.h5", "here.h5"])
def test_a_weights_file_exists_and_has_keras_suffix(tmp_path, name):
    (tmp_path / "here.h5").touch()
    with pytest.raises(
        MissingWeights, match=rf"^weights='.*{name}': expected the path of an existing \.weights\.h5 fi"
    ):
        Unet("resnet18", weights=tmp_path / name)


@pytest.mark.parametrize("argument", ["weights", "encoder_weights"])
def test_a_number_is_no_weights_file(argument):
    with pytest.raises(MissingWeights, match=rf"^{argument}=5: expected the path of an existing"):
        Unet("resnet18", **{argument: 5})  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_weights_of_another_network_are_refused(tmp_path):
    file = tmp_path / "other.weights.h5"
    inputs = keras.Input((8, 8, 3))
    keras.Model(inputs, keras.layers.Conv2D(5, 3)(inputs)).save_weights(file)
    with pytest.raises(
        UnusableWeights, match=r"^encoder_weights='.*other\.weights\.h5': .*wrote for the network resnet18"
    ):
        Unet("resnet18", encoder_weights=file)


def test_a_file_that_is_no_hdf5_is_refused(tmp_path):
    file = tmp_path / "text.weights.h5"
    file.write_text("not numbers")
    with pytest.raises(UnusableWeights, match=r"^weights='.*text\.weights\.h5': .*wrote for the network unet"):
        Unet("resnet18", weights=file)
