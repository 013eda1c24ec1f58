"""Encoders from keras.applications: the changes to them, names and published weights."""

import warnings
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras import applications, layers

from maskwright.errors import UnknownChoice, WrongArgument
from maskwright.networks import BACKBONES
from maskwright.networks.keras_applications import (
    PublishedLayerMismatch,
    UnreadablePublishedFile,
    build_application,
    copy_layers,
    published_encoder,
)
from tests.networks.randomise import infer, randomise

IMAGES = np.random.default_rng(3).uniform(0, 255, (1, 64, 96, 3)).astype("float32")


@pytest.fixture(scope="module")
def inception() -> keras.Model:
    return build_application("inceptionv3", input_shape=(64, 96, 3))


@pytest.mark.parametrize("channels", [1, 13])
def test_any_number_of_channels_is_accepted_without_warning(channels):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        encoder = build_application("mobilenet", input_shape=(64, None, channels))
    assert encoder.get_layer("conv1").kernel.shape == (3, 3, channels, 32)
    assert encoder.output_shape == (None, 2, None, 1024)


def test_layer_names_do_not_depend_on_networks_built_before():
    first, second = (build_application("mobilenetv3small") for _ in range(2))
    assert [layer.name for layer in first.layers] == [layer.name for layer in second.layers]
    assert first.get_layer("activation").output.shape[-1] == 16  # the first, after the first convolution
    assert first.name == "mobilenetv3small"


def test_inception_halves_sides_exactly_for_small_images(inception):
    row = BACKBONES["inceptionv3"]
    assert inception.count_params() == row.parameters
    sides = [inception.get_layer(skip).output.shape[1:3] for skip in row.skips]
    assert [*sides, inception.output_shape[1:3]] == [(4, 6), (8, 12), (16, 24), (32, 48), (2, 3)]


def test_inception_differs_from_keras_only_in_its_padding(inception):
    theirs = applications.InceptionV3(weights=None, include_top=False, input_shape=(None, None, 3))
    copy_layers(randomise(theirs), inception)
    for layer in theirs.layers:
        if getattr(layer, "padding", None) == "valid":
            layer.padding = "same"
    np.testing.assert_allclose(infer(inception, IMAGES / 255), infer(theirs, IMAGES / 255), rtol=1e-4, atol=1e-4)


def test_convnext_units_end_in_layers_and_its_configuration_is_complete():
    encoder = build_application("convnexttiny")
    ends = [layer.name for layer in encoder.layers if isinstance(layer, layers.Add)]
    assert ends == ["add", *(f"add_{number}" for number in range(1, 3 + 3 + 9 + 3))]
    again = keras.Model.from_config(encoder.get_config())
    again.set_weights(randomise(encoder).get_weights())
    np.testing.assert_allclose(infer(again, IMAGES / 255), infer(encoder, IMAGES / 255), rtol=1e-5)


def write_as_published(network: keras.Model, file: Path) -> None:
    """The layout of Keras 2, in which Keras publishes its files: a group a layer, in the order of the graph."""
    with h5py.File(file, "w") as h5:
        h5.attrs["layer_names"] = [layer.name for layer in network.layers]
        for layer in network.layers:
            names = [f"{layer.name}/{number}" for number in range(len(layer.weights))]
            group = h5.create_group(layer.name)
            group.attrs["weight_names"] = names
            for name, array in zip(names, layer.get_weights(), strict=True):
                group.create_dataset(name, data=array)


@pytest.mark.parametrize(
    ("name", "make"), [("mobilenet", applications.MobileNet), ("efficientnetb0", applications.EfficientNetB0)]
)
def test_published_weights_are_copied_without_preprocessing_layers(name, make, tmp_path):
    theirs = randomise(make(weights=None, include_top=False, input_shape=(64, 96, 3)))
    write_as_published(theirs, tmp_path / "published.h5")
    encoder = published_encoder(name, tmp_path / "published.h5")
    prepared = IMAGES
    for layer in theirs.layers:
        if isinstance(layer, layers.Rescaling | layers.Normalization):
            prepared = np.asarray(layer(prepared))
    np.testing.assert_allclose(infer(encoder, prepared), infer(theirs, IMAGES), rtol=1e-4, atol=1e-4)
    assert not [layer for layer in encoder.layers if isinstance(layer, layers.Rescaling | layers.Normalization)]


@pytest.mark.parametrize("damage", ["cut", "noise", "another network's"])
def test_file_without_published_weights_is_an_error_with_a_remedy(damage, tmp_path):
    file = tmp_path / "published.h5"
    write_as_published(one_layer(4, name="conv1"), file)
    if damage != "another network's":
        file.write_bytes(file.read_bytes()[:900] if damage == "cut" else b"<html>Please sign in</html>")
    message = rf"^{file}: found .*, expected .* mobilenet\. .*{file}\.sha256"
    with pytest.raises(UnreadablePublishedFile, match=message):
        published_encoder("mobilenet", file)


def one_layer(filters: int, *, name: str) -> keras.Model:
    source = keras.Input((8, 8, 3))
    return keras.Model(source, layers.Conv2D(filters, 3, name=name)(source), name="encoder")


@pytest.mark.parametrize(
    ("theirs", "expected"),
    [
        (one_layer(5, name="first"), r"layer first .*\[\(3, 3, 3, 5\), \(5,\)\], .*\(4,\)\]\."),
        (
            one_layer(4, name="another"),
            r"layer another .* \[\]\. ",
        ),
    ],
)
def test_published_layer_mismatch_names_the_layer(theirs, expected):
    with pytest.raises(PublishedLayerMismatch, match=f"^encoder: the published {expected}"):
        copy_layers(theirs, one_layer(4, name="first"))


def test_unusable_arguments_are_errors():
    with pytest.raises(UnknownChoice, match=r"^name='mobilenet_v2' .*'mobilenetv2'\?$"):
        build_application("mobilenet_v2")
    with pytest.raises(UnknownChoice, match=r"^name='resnet34' .*vgg16"):
        published_encoder("resnet34", Path("nowhere.h5"))
    with pytest.raises(WrongArgument, match=r"^input_shape=\(64, 96\): "):
        build_application("mobilenet", input_shape=(64, 96))
