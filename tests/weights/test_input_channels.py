"""Adaptation of RGB weights to other numbers of channels."""

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from maskwright.weights.input_channels import (
    UnadaptableWeights,
    adapt_kernel,
    adapt_statistics,
    clone_for_rgb,
    copy_adapted,
    image_channels,
)
from tests.networks.randomise import infer, randomise

KERNEL = np.array([[1.0, 10.0], [2.0, 20.0], [4.0, 40.0]]).reshape(1, 1, 3, 2)  # two filters


@pytest.mark.parametrize(
    ("channels", "first", "second"),
    [
        (1, [7.0], [70.0]),
        (2, [1.5, 3.0], [15.0, 30.0]),
        (3, [1.0, 2.0, 4.0], [10.0, 20.0, 40.0]),
        (4, [0.75, 1.5, 3.0, 0.75], [7.5, 15.0, 30.0, 7.5]),
        (6, [0.5, 1.0, 2.0, 0.5, 1.0, 2.0], [5.0, 10.0, 20.0, 5.0, 10.0, 20.0]),
    ],
)
def test_kernel_is_summed_or_repeated_and_scaled(channels, first, second):
    adapted = adapt_kernel(KERNEL, channels)
    assert adapted.shape == (1, 1, channels, 2)
    assert_allclose(adapted[0, 0, :, 0], first)
    assert_allclose(adapted[0, 0, :, 1], second)


@pytest.mark.parametrize(
    ("channels", "expected"), [(1, [3.0]), (2, [1.0, 2.0]), (3, [1.0, 2.0, 6.0]), (4, [1.0, 2.0, 6.0, 1.0])]
)
def test_statistics_are_averaged_or_repeated(channels, expected):
    assert_allclose(adapt_statistics(np.array([1.0, 2.0, 6.0]), channels), expected)


def encoder(channels, *, normalised=False):
    image = keras.Input((None, None, channels), name="data")
    x = keras.layers.BatchNormalization(scale=False, name="bn_data")(image) if normalised else image
    x = keras.layers.ZeroPadding2D(1)(x)
    x = keras.layers.Conv2D(4, 3, strides=2, use_bias=False, name="conv0")(x)
    x = keras.layers.Conv2D(3, 3, activation="relu", name="conv1")(keras.layers.BatchNormalization(name="bn0")(x))
    return keras.Model(image, x, name="encoder")


def adapted(rgb, channels, **options):
    network = encoder(channels, **options)
    copy_adapted(rgb, network)
    return network


PIXELS = np.random.default_rng(1).uniform(-2, 2, (2, 8, 12, 3)).astype("float32")


def test_one_channel_equals_three_equal_channels():
    rgb, gray = randomise(encoder(3)), PIXELS[..., :1]
    assert_allclose(infer(adapted(rgb, 1), gray), infer(rgb, np.repeat(gray, 3, axis=-1)), atol=1e-5)


@pytest.mark.parametrize("normalised", [False, True])
def test_six_channels_of_repeated_rgb_equal_rgb(normalised):
    rgb = randomise(encoder(3, normalised=normalised))
    six = adapted(rgb, 6, normalised=normalised)
    assert_allclose(infer(six, np.concatenate([PIXELS, PIXELS], axis=-1)), infer(rgb, PIXELS), atol=1e-5)


def test_statistics_of_one_channel_are_the_means_over_rgb():
    rgb = randomise(encoder(3, normalised=True))
    ours = {weight.path: weight.numpy() for weight in adapted(rgb, 1, normalised=True).weights}
    for weight in rgb.weights:
        if weight.path.startswith("bn_data/"):
            assert_allclose(ours[weight.path], weight.numpy().mean(keepdims=True), rtol=1e-6)
        elif weight.path != "conv0/kernel":
            assert_array_equal(ours[weight.path], weight.numpy())


@pytest.mark.parametrize("channels", [1, 4, 13])
def test_clone_has_the_same_layers_for_three_channels(channels):
    inner = keras.Sequential([keras.layers.Conv2D(2, 1, name="conv")], name="stem")
    image = keras.Input((8, None, channels))
    network = keras.Model(image, keras.layers.ReLU(name="relu")(inner(image)))
    clone = clone_for_rgb(network)
    assert image_channels(clone) == 3
    assert [layer.name for layer in clone.layers[1:]] == [layer.name for layer in network.layers[1:]]
    copy_adapted(randomise(clone), network)
    assert_allclose(network.weights[0].numpy(), adapt_kernel(clone.weights[0].numpy(), channels), rtol=1e-6)
    assert image_channels(network) == channels


def test_layer_without_a_rule_is_an_error_and_nothing_is_changed():
    def network(channels):
        image = keras.Input((8, 8, channels))
        x = keras.layers.Conv2D(2, 1, name="first")(image)
        x = keras.layers.Concatenate()([x, keras.layers.DepthwiseConv2D(3, padding="same", name="deep")(image)])
        return keras.Model(image, x, name="odd")

    ours = network(4)
    before = [weight.numpy() for weight in ours.weights]
    with pytest.raises(
        UnadaptableWeights,
        match=r"^odd: deep/kernel has shape \(3, 3, 3, 1\) for RGB images and \(3, 3, 4, 1\) here\. ",
    ):
        copy_adapted(randomise(network(3)), ours)
    for weight, array in zip(ours.weights, before, strict=True):
        assert_array_equal(weight.numpy(), array)
