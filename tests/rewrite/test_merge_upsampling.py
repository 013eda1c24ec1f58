"""Merging of upsampling into convolutions: kernel by hand, concatenation orders, and the layers that are kept."""

import keras
import numpy as np
import pytest
from keras import layers

from maskwright.rewrite.merge_upsampling import merge_upsampling, transposed_kernel
from tests.networks.randomise import infer, randomise
from tests.networks.tiny import noise


def up(rate=2, **settings):
    return layers.UpSampling2D(rate, **settings)


def concatenated(*branches, convolution=None):
    """Build a network that concatenates ``branches``, functions of the image, and convolves them."""
    image = keras.Input((None, None, 3))
    features = [branch(image) for branch in branches]
    x = layers.Concatenate()(features) if len(features) > 1 else features[0]
    return randomise(keras.Model(image, (convolution or layers.Conv2D(4, 3, padding="same"))(x)))


def downsampled(rate, filters=5):
    return lambda image: layers.AveragePooling2D(rate)(layers.Conv2D(filters, 1)(image))


def upsampled(rate, filters=5):
    return lambda image: up(rate)(downsampled(rate, filters)(image))


def full_size(image):
    return layers.Conv2D(2, 1)(image)


def layer_classes(network):
    return [type(layer).__name__ for layer in network.layers]


def test_transposed_kernel_equals_that_by_hand():
    kernel = np.arange(1.0, 10.0).reshape(3, 3, 1, 1)
    assert transposed_kernel(kernel, (2, 2))[..., 0, 0].tolist() == [
        [9, 17, 15, 7],
        [15, 28, 24, 11],
        [9, 16, 12, 5],
        [3, 5, 3, 1],
    ]


@pytest.mark.parametrize(
    "network",
    {
        "alone": concatenated(up()),
        "by 3 and 2": concatenated(up((3, 2))),
        "by 4": concatenated(up(4)),
        "5 x 3": concatenated(up(), convolution=layers.Conv2D(4, (5, 3), padding="same", use_bias=False)),
        "1 x 1": concatenated(up(3), convolution=layers.Conv2D(4, 1, padding="same")),
        "activation": concatenated(up(), convolution=layers.Conv2D(4, 3, padding="same", activation="tanh")),
        "first": concatenated(upsampled(2), full_size),
        "last": concatenated(full_size, upsampled(2)),
        "two": concatenated(upsampled(2), upsampled(4, filters=3)),
        "three": concatenated(upsampled(2), full_size, upsampled(4, filters=3)),
        "concatenated without bias": concatenated(
            full_size, upsampled(2), convolution=layers.Conv2D(4, 3, padding="same", use_bias=False, activation="relu")
        ),
    }.items(),
    ids=lambda item: item[0],
)
def test_upsampling_and_concatenation_are_merged_exactly(network):
    rewritten = merge_upsampling(network[1])
    assert not {"UpSampling2D", "Concatenate"} & set(layer_classes(rewritten))
    for size in ((12, 20), (4, 4)):
        ours, theirs = infer(rewritten, noise(*size)), infer(network[1], noise(*size))
        np.testing.assert_allclose(ours, theirs, atol=3e-6)


@pytest.mark.parametrize("side", [1, 2, 5])
def test_outputs_agree_up_to_the_borders_for_any_size(side):
    network = concatenated(up())
    images = noise(side, side + 1)
    np.testing.assert_allclose(infer(merge_upsampling(network), images), infer(network, images), atol=2e-6)


@pytest.mark.parametrize(
    "network",
    {
        "bilinear": concatenated(up(interpolation="bilinear")),
        "even": concatenated(up(), convolution=layers.Conv2D(4, 4, padding="same")),
        "stride": concatenated(up(), convolution=layers.Conv2D(4, 3, strides=2, padding="same")),
        "dilated": concatenated(up(), convolution=layers.Conv2D(4, 3, dilation_rate=2, padding="same")),
        "unpadded": concatenated(up(), convolution=layers.Conv2D(4, 3)),
        "depthwise": concatenated(up(), convolution=layers.DepthwiseConv2D(3, padding="same")),
        "grouped": concatenated(
            lambda x: up()(layers.Conv2D(4, 1)(x)), convolution=layers.Conv2D(4, 3, groups=2, padding="same")
        ),
        "two at full size": concatenated(upsampled(2), full_size, full_size),
        "row axis": concatenated(lambda x: layers.Concatenate(axis=1)([up()(x), up()(x)])),
        "concatenated twice": concatenated(lambda x: layers.Concatenate()([y := up()(x), y])),
    }.items(),
    ids=lambda item: item[0],
)
def test_upsampling_that_cannot_be_merged_is_kept(network):
    rewritten, images = merge_upsampling(network[1]), noise(12, 20)
    assert layer_classes(rewritten) == layer_classes(network[1])
    np.testing.assert_array_equal(infer(rewritten, images), infer(network[1], images))


def test_concatenation_with_two_consumers_is_kept():
    image = keras.Input((None, None, 3))
    concatenation = layers.Concatenate()([up()(image), up()(image)])
    x = layers.Concatenate()([layers.Conv2D(4, 3, padding="same")(concatenation), concatenation])
    network = keras.Model(image, x)
    assert layer_classes(merge_upsampling(network)) == layer_classes(network)
