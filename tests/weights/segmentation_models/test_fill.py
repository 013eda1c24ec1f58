"""Numbers of Keras 2 files in networks built here: each in its place, or none."""

import keras
import numpy as np
import pytest
from keras import layers

from maskwright.errors import InputError
from maskwright.networks.grouped_conv import GroupedConv2D
from maskwright.weights.segmentation_models.fill import layers_as_written, load_legacy_weights
from tests.weights.legacy_files import layers_of, write_numbers


def kernel(number, *shape):
    """A kernel that is all ``number``."""
    return {"kernel": np.full(shape, number, "float32")}


def small():
    """Two branches with layers of equal shapes, which meet in an add."""
    image = keras.Input((8, 8, 2))
    left = layers.Conv2D(2, 1, use_bias=False, name="left2")(
        layers.Conv2D(2, 1, use_bias=False, name="left1")(image),
    )
    right = layers.Conv2D(2, 1, use_bias=False, name="right")(image)
    return keras.Model(image, layers.Add()([left, right]), name="small")


def test_layers_are_written_down_branch_after_branch():
    assert [layer.name for layer in layers_as_written(small())] == ["left1", "left2", "right"]


def test_named_layers_take_the_numbers_under_their_name(tmp_path):
    network = small()
    file = write_numbers(
        tmp_path / "old.h5",
        {"right": kernel(3, 1, 1, 2, 2), "left1": kernel(1, 1, 1, 2, 2), "left2": kernel(2, 1, 1, 2, 2)},
    )
    load_legacy_weights(network, file)
    found = {name: arrays["kernel"].max() for name, arrays in layers_of(network).items()}
    assert found == {"left1": 1, "left2": 2, "right": 3}


def test_numbered_layers_go_by_their_numbers_not_their_letters(tmp_path):
    network = small()
    numbered = {f"conv2d_{number}": kernel(number, 1, 1, 2, 2) for number in (10, 9, 101)}
    load_legacy_weights(network, write_numbers(tmp_path / "old.h5", numbered))
    found = {name: arrays["kernel"].max() for name, arrays in layers_of(network).items()}
    assert found == {"left1": 9, "left2": 10, "right": 101}


def test_a_numbered_name_here_is_not_taken_for_the_same_one_there(tmp_path):
    image = keras.Input((8, 8, 2))
    x = layers.Conv2D(2, 1, use_bias=False, name="conv2d_1")(image)
    network = keras.Model(image, layers.Conv2D(2, 1, use_bias=False, name="conv2d_2")(x))
    file = write_numbers(tmp_path / "old.h5", {f"conv2d_{n}": kernel(n, 1, 1, 2, 2) for n in (2, 3)})
    load_legacy_weights(network, file)
    assert [arrays["kernel"].max() for arrays in layers_of(network).values()] == [2, 3]


@pytest.mark.parametrize("kind", [layers.Conv2D, GroupedConv2D])
def test_slices_of_channels_become_one_grouped_convolution(tmp_path, kind):
    chance = np.random.default_rng(0)
    slices = [chance.normal(size=(3, 3, 2, 4)).astype("float32") for _ in range(3)]
    image = keras.Input((8, 8, 6))
    network = keras.Model(image, kind(12, 3, groups=3, use_bias=False, name="grouped")(image))
    file = write_numbers(tmp_path / "old.h5", {f"conv2d_{n}": {"kernel": part} for n, part in enumerate(slices)})
    load_legacy_weights(network, file)
    images = chance.normal(size=(1, 8, 8, 6)).astype("float32")
    windows = np.lib.stride_tricks.sliding_window_view(images, (3, 3), axis=(1, 2))  # (1, 6, 6, channels, 3, 3)
    expected = [
        np.einsum("nhwcyx,yxcf->nhwf", windows[:, :, :, 2 * group : 2 * group + 2], part)
        for group, part in enumerate(slices)
    ]
    np.testing.assert_allclose(network.predict_on_batch(images), np.concatenate(expected, -1), atol=1e-5)


def test_a_slash_in_a_name_stands_for_an_underscore(tmp_path):
    image = keras.Input((8, 8, 2))
    network = keras.Model(image, layers.Conv2D(2, 1, use_bias=False, name="conv1_conv")(image))
    load_legacy_weights(network, write_numbers(tmp_path / "old.h5", {"conv1/conv": kernel(5, 1, 1, 2, 2)}))
    assert layers_of(network)["conv1_conv"]["kernel"].max() == 5


def test_a_bias_before_a_normalisation_moves_into_its_mean(tmp_path):
    """The first releases' names and their superfluous bias, against the arithmetic written out."""
    image = keras.Input((4, 4, 1))
    x = layers.Conv2D(1, 1, use_bias=False, name="decoder_stage0a_conv")(image)
    network = keras.Model(image, layers.BatchNormalization(epsilon=1e-3, name="decoder_stage0a_bn")(x))
    norm = {"gamma": [2.0], "beta": [0.5], "moving_mean": [0.25], "moving_variance": [4.0]}
    file = write_numbers(
        tmp_path / "old.h5",
        {
            "decoder_stage0_conv1": {"kernel": np.full((1, 1, 1, 1), 3.0), "bias": np.array([0.75])},
            "decoder_stage0_bn1": {name: np.array(value) for name, value in norm.items()},
        },
    )
    load_legacy_weights(network, file)
    expected = (3 * 1.5 + 0.75 - 0.25) / np.sqrt(4.0 + 1e-3) * 2 + 0.5
    np.testing.assert_allclose(network.predict_on_batch(np.full((1, 4, 4, 1), 1.5)), expected, rtol=1e-5)


def refusal(network, file):
    before = [np.array(variable) for variable in network.variables]
    with pytest.raises(InputError) as refused:
        load_legacy_weights(network, file)
    for variable, value in zip(network.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)  # as it was: not even the layers that fit
    return str(refused.value)


def test_a_layer_of_another_shape_is_named_with_both_shapes(tmp_path):
    file = write_numbers(tmp_path / "old.h5", {"left1": kernel(1, 1, 1, 2, 2), "left2": kernel(1, 3, 3, 2, 2)})
    words = refusal(small(), file)
    assert "old.h5: layer left2 holds kernel (3, 3, 2, 2); the network small expects kernel (1, 1, 2, 2)." in words


def test_layers_that_only_one_side_has_are_named(tmp_path):
    file = write_numbers(
        tmp_path / "old.h5",
        {"left1": kernel(1, 1, 1, 2, 2), "left2": kernel(1, 1, 1, 2, 2), "extra": {"gamma": np.ones(7)}},
    )
    words = refusal(small(), file)
    assert "Only in the file: extra with gamma (7)." in words
    assert "Only in the network: right with kernel (1, 1, 2, 2)." in words


def test_numbered_layers_that_nobody_takes_are_named_and_many_are_counted(tmp_path):
    numbered = {f"conv2d_{number}": kernel(number, 1, 1, 2, 2) for number in range(10)}
    words = refusal(small(), write_numbers(tmp_path / "old.h5", numbered))
    assert "conv2d_3 with kernel (1, 1, 2, 2)" in words
    assert "and 2 more. Only in the network: nothing." in words


def test_too_few_slices_leave_the_grouped_convolution_unfilled(tmp_path):
    image = keras.Input((8, 8, 6))
    network = keras.Model(image, layers.Conv2D(12, 3, groups=3, use_bias=False, name="grouped")(image))
    file = write_numbers(tmp_path / "old.h5", {f"conv2d_{n}": kernel(n, 3, 3, 2, 4) for n in range(2)})
    assert "Only in the network: grouped with kernel (3, 3, 2, 12)" in refusal(network, file)


def test_two_layers_of_one_name_here_are_refused(tmp_path):
    layers_twice = {
        "left1": kernel(1, 1, 1, 2, 2),
        "conv1/conv": kernel(2, 1, 1, 2, 2),
        "conv1_conv": kernel(3, 1, 1, 2, 2),
    }
    words = refusal(small(), write_numbers(tmp_path / "old.h5", layers_twice))
    assert "the layers conv1/conv and conv1_conv are both called conv1_conv here" in words
