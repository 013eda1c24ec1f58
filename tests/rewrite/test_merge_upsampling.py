"""Enlarging in a transposed convolution: its kernel by hand, the orders of joined maps, and what must stay."""

import keras
import numpy as np
import pytest
from keras import layers

from maskwright.rewrite.merge_upsampling import enlarging_kernel, merge_enlarging
from tests.networks.randomise import answer, randomise
from tests.networks.tiny import noise


def up(rate=2, **settings):
    return layers.UpSampling2D(rate, **settings)


def joined(*maps, convolution=None):
    """A network that joins ``maps`` of the image, functions, and convolves them."""
    image = keras.Input((None, None, 3))
    maps = [of(image) for of in maps]
    x = layers.Concatenate()(maps) if len(maps) > 1 else maps[0]
    return randomise(keras.Model(image, (convolution or layers.Conv2D(4, 3, padding="same"))(x)))


def small(rate, filters=5):
    return lambda image: layers.AveragePooling2D(rate)(layers.Conv2D(filters, 1)(image))


def enlarged(rate, filters=5):
    return lambda image: up(rate)(small(rate, filters)(image))


def as_it_is(image):
    return layers.Conv2D(2, 1)(image)


def kinds(network):
    return [type(layer).__name__ for layer in network.layers]


def test_the_kernel_by_hand():
    kernel = np.arange(1.0, 10.0).reshape(3, 3, 1, 1)
    assert enlarging_kernel(kernel, (2, 2))[..., 0, 0].tolist() == [
        [9, 17, 15, 7],
        [15, 28, 24, 11],
        [9, 16, 12, 5],
        [3, 5, 3, 1],
    ]


@pytest.mark.parametrize(
    "network",
    {
        "alone": joined(up()),
        "by 3 and 2": joined(up((3, 2))),
        "by 4": joined(up(4)),
        "5 x 3": joined(up(), convolution=layers.Conv2D(4, (5, 3), padding="same", use_bias=False)),
        "1 x 1": joined(up(3), convolution=layers.Conv2D(4, 1, padding="same")),
        "activation": joined(up(), convolution=layers.Conv2D(4, 3, padding="same", activation="tanh")),
        "before": joined(enlarged(2), as_it_is),
        "behind": joined(as_it_is, enlarged(2)),
        "two": joined(enlarged(2), enlarged(4, filters=3)),
        "three": joined(enlarged(2), as_it_is, enlarged(4, filters=3)),
        "joined without bias": joined(
            as_it_is, enlarged(2), convolution=layers.Conv2D(4, 3, padding="same", use_bias=False, activation="relu")
        ),
    }.items(),
    ids=lambda item: item[0],
)
def test_enlarged_maps_are_never_made(network):
    again = merge_enlarging(network[1])
    assert not {"UpSampling2D", "Concatenate"} & set(kinds(again))
    for size in ((12, 20), (4, 4)):
        ours, theirs = answer(again, noise(*size)), answer(network[1], noise(*size))
        np.testing.assert_allclose(ours, theirs, atol=3e-6)


@pytest.mark.parametrize("side", [1, 2, 5])
def test_maps_of_any_size_agree_to_their_borders(side):
    network = joined(up())
    images = noise(side, side + 1)
    np.testing.assert_allclose(answer(merge_enlarging(network), images), answer(network, images), atol=2e-6)


@pytest.mark.parametrize(
    "network",
    {
        "bilinear": joined(up(interpolation="bilinear")),
        "even": joined(up(), convolution=layers.Conv2D(4, 4, padding="same")),
        "stride": joined(up(), convolution=layers.Conv2D(4, 3, strides=2, padding="same")),
        "dilated": joined(up(), convolution=layers.Conv2D(4, 3, dilation_rate=2, padding="same")),
        "unpadded": joined(up(), convolution=layers.Conv2D(4, 3)),
        "depthwise": joined(up(), convolution=layers.DepthwiseConv2D(3, padding="same")),
        "grouped": joined(
            lambda x: up()(layers.Conv2D(4, 1)(x)), convolution=layers.Conv2D(4, 3, groups=2, padding="same")
        ),
        "two as they are": joined(enlarged(2), as_it_is, as_it_is),
        "by rows": joined(lambda x: layers.Concatenate(axis=1)([up()(x), up()(x)])),
        "joined and read twice": joined(lambda x: layers.Concatenate()([y := up()(x), y])),
    }.items(),
    ids=lambda item: item[0],
)
def test_other_enlargements_stay(network):
    again, images = merge_enlarging(network[1]), noise(12, 20)
    assert kinds(again) == kinds(network[1])
    np.testing.assert_array_equal(answer(again, images), answer(network[1], images))


def test_a_joined_map_that_something_else_reads_stays():
    image = keras.Input((None, None, 3))
    joint = layers.Concatenate()([up()(image), up()(image)])
    x = layers.Concatenate()([layers.Conv2D(4, 3, padding="same")(joint), joint])
    network = keras.Model(image, x)
    assert kinds(merge_enlarging(network)) == kinds(network)
