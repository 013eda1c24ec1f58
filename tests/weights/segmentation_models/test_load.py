"""Loading of Keras 2 weights: all layers are matched, or nothing is changed."""

import keras
import numpy as np
import pytest
from keras import layers

from maskwright.networks.grouped_conv import GroupedConv2D
from maskwright.weights.segmentation_models.load import (
    DifferentLayers,
    LayerMismatch,
    layers_in_creation_order,
    load_legacy_weights,
)
from maskwright.weights.segmentation_models.names import DuplicateLayerName
from tests.weights.legacy_files import layers_of, write_weights


def kernel(value, *shape):
    """Return the weights of a layer whose kernel is constant."""
    return {"kernel": np.full(shape, value, "float32")}


def small_network():
    """Return a network of two branches with layers of equal shapes, merged by addition."""
    image = keras.Input((8, 8, 2))
    left = layers.Conv2D(2, 1, use_bias=False, name="left2")(
        layers.Conv2D(2, 1, use_bias=False, name="left1")(image),
    )
    right = layers.Conv2D(2, 1, use_bias=False, name="right")(image)
    return keras.Model(image, layers.Add()([left, right]), name="small")


def test_layers_are_ordered_by_branch():
    assert [layer.name for layer in layers_in_creation_order(small_network())] == ["left1", "left2", "right"]


def test_named_layers_are_matched_by_name(tmp_path):
    network = small_network()
    file = write_weights(
        tmp_path / "old.h5",
        {"right": kernel(3, 1, 1, 2, 2), "left1": kernel(1, 1, 1, 2, 2), "left2": kernel(2, 1, 1, 2, 2)},
    )
    load_legacy_weights(network, file)
    found = {name: arrays["kernel"].max() for name, arrays in layers_of(network).items()}
    assert found == {"left1": 1, "left2": 2, "right": 3}


def test_automatic_names_are_sorted_by_number(tmp_path):
    network = small_network()
    auto_named = {f"conv2d_{number}": kernel(number, 1, 1, 2, 2) for number in (10, 9, 101)}
    load_legacy_weights(network, write_weights(tmp_path / "old.h5", auto_named))
    found = {name: arrays["kernel"].max() for name, arrays in layers_of(network).items()}
    assert found == {"left1": 9, "left2": 10, "right": 101}


def test_automatic_names_are_not_matched_by_name(tmp_path):
    image = keras.Input((8, 8, 2))
    x = layers.Conv2D(2, 1, use_bias=False, name="conv2d_1")(image)
    network = keras.Model(image, layers.Conv2D(2, 1, use_bias=False, name="conv2d_2")(x))
    file = write_weights(tmp_path / "old.h5", {f"conv2d_{n}": kernel(n, 1, 1, 2, 2) for n in (2, 3)})
    load_legacy_weights(network, file)
    assert [arrays["kernel"].max() for arrays in layers_of(network).values()] == [2, 3]


@pytest.mark.parametrize("kind", [layers.Conv2D, GroupedConv2D])
def test_slices_are_loaded_into_a_grouped_convolution(tmp_path, kind):
    rng = np.random.default_rng(0)
    slices = [rng.normal(size=(3, 3, 2, 4)).astype("float32") for _ in range(3)]
    image = keras.Input((8, 8, 6))
    network = keras.Model(image, kind(12, 3, groups=3, use_bias=False, name="grouped")(image))
    file = write_weights(tmp_path / "old.h5", {f"conv2d_{n}": {"kernel": part} for n, part in enumerate(slices)})
    load_legacy_weights(network, file)
    images = rng.normal(size=(1, 8, 8, 6)).astype("float32")
    windows = np.lib.stride_tricks.sliding_window_view(images, (3, 3), axis=(1, 2))  # (1, 6, 6, channels, 3, 3)
    expected = [
        np.einsum("nhwcyx,yxcf->nhwf", windows[:, :, :, 2 * group : 2 * group + 2], part)
        for group, part in enumerate(slices)
    ]
    np.testing.assert_allclose(network.predict_on_batch(images), np.concatenate(expected, -1), atol=1e-5)


def test_slash_in_a_name_matches_an_underscore(tmp_path):
    image = keras.Input((8, 8, 2))
    network = keras.Model(image, layers.Conv2D(2, 1, use_bias=False, name="conv1_conv")(image))
    load_legacy_weights(network, write_weights(tmp_path / "old.h5", {"conv1/conv": kernel(5, 1, 1, 2, 2)}))
    assert layers_of(network)["conv1_conv"]["kernel"].max() == 5


def test_bias_before_a_normalisation_is_moved_into_its_mean(tmp_path):
    """Names and bias are those of the first releases of segmentation_models."""
    image = keras.Input((4, 4, 1))
    x = layers.Conv2D(1, 1, use_bias=False, name="decoder_stage0a_conv")(image)
    network = keras.Model(image, layers.BatchNormalization(epsilon=1e-3, name="decoder_stage0a_bn")(x))
    norm = {"gamma": [2.0], "beta": [0.5], "moving_mean": [0.25], "moving_variance": [4.0]}
    file = write_weights(
        tmp_path / "old.h5",
        {
            "decoder_stage0_conv1": {"kernel": np.full((1, 1, 1, 1), 3.0), "bias": np.array([0.75])},
            "decoder_stage0_bn1": {name: np.array(value) for name, value in norm.items()},
        },
    )
    load_legacy_weights(network, file)
    expected = (3 * 1.5 + 0.75 - 0.25) / np.sqrt(4.0 + 1e-3) * 2 + 0.5
    np.testing.assert_allclose(network.predict_on_batch(np.full((1, 4, 4, 1), 1.5)), expected, rtol=1e-5)


def error_of(network, file, error):
    """Return the message of the ``error`` that loading raises, after checking that the network is unchanged."""
    before = [np.array(variable) for variable in network.variables]
    with pytest.raises(error, match=rf"^{file}: ") as raised:
        load_legacy_weights(network, file)
    for variable, value in zip(network.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)  # also layers that match
    return str(raised.value)


def test_error_states_both_shapes_of_a_layer(tmp_path):
    file = write_weights(tmp_path / "old.h5", {"left1": kernel(1, 1, 1, 2, 2), "left2": kernel(1, 3, 3, 2, 2)})
    message = error_of(small_network(), file, LayerMismatch)
    assert message.endswith("layer left2 has kernel (3, 3, 2, 2); the network small expects kernel (1, 1, 2, 2).")


def test_error_lists_layers_only_in_the_file_or_the_network(tmp_path):
    file = write_weights(
        tmp_path / "old.h5",
        {"left1": kernel(1, 1, 1, 2, 2), "left2": kernel(1, 1, 1, 2, 2), "extra": {"gamma": np.ones(7)}},
    )
    message = error_of(small_network(), file, DifferentLayers)
    assert "Only in the file: extra with gamma (7)." in message
    assert "Only in the network: right with kernel (1, 1, 2, 2)." in message


def test_at_most_five_unmatched_layers_are_listed(tmp_path):
    auto_named = {f"conv2d_{number}": kernel(number, 1, 1, 2, 2) for number in range(10)}
    message = error_of(small_network(), write_weights(tmp_path / "old.h5", auto_named), DifferentLayers)
    assert "Only in the file: conv2d_3 with kernel (1, 1, 2, 2); conv2d_4 " in message
    assert "and 2 more. Only in the network: nothing." in message


def test_too_few_slices_do_not_match_a_grouped_convolution(tmp_path):
    image = keras.Input((8, 8, 6))
    network = keras.Model(image, layers.Conv2D(12, 3, groups=3, use_bias=False, name="grouped")(image))
    file = write_weights(tmp_path / "old.h5", {f"conv2d_{n}": kernel(n, 3, 3, 2, 4) for n in range(2)})
    message = error_of(network, file, DifferentLayers)
    assert "Only in the network: grouped with kernel (3, 3, 2, 12)" in message


def test_two_layers_with_the_same_current_name_are_an_error(tmp_path):
    duplicates = {
        "left1": kernel(1, 1, 1, 2, 2),
        "conv1/conv": kernel(2, 1, 1, 2, 2),
        "conv1_conv": kernel(3, 1, 1, 2, 2),
    }
    message = error_of(small_network(), write_weights(tmp_path / "old.h5", duplicates), DuplicateLayerName)
    assert "conv1/conv and conv1_conv both correspond to the layer conv1_conv;" in message
