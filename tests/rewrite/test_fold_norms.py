"""Folding of batch normalisation into convolutions: weights by hand, outputs, and the layers that are kept."""

import keras
import numpy as np
import pytest
from keras import layers

from maskwright.rewrite.fold_norms import fold_norms, folded_weights
from tests.networks.randomise import infer, randomise
from tests.networks.tiny import noise

CONVOLUTIONS = {
    "convolution": lambda **settings: layers.Conv2D(4, 3, strides=2, **settings),
    "dilated": lambda **settings: layers.Conv2D(4, 3, dilation_rate=2, **settings),
    "grouped": lambda **settings: layers.Conv2D(6, 3, groups=3, **settings),
    "transposed": lambda **settings: layers.Conv2DTranspose(4, 5, strides=2, **settings),
    "depthwise": lambda **settings: layers.DepthwiseConv2D(3, depth_multiplier=2, **settings),
}


def network_of(*first, training=None, **norm):
    """Build a network of the given layers and a batch normalisation."""
    image = keras.Input((9, 12, 3))
    x = image
    for layer in first:
        x = layer(x)
    x = layers.BatchNormalization(**norm)(x, training=training)
    return randomise(keras.Model(image, x))


def count(network, layer_class):
    return sum(isinstance(layer, layer_class) for layer in network.layers)


def test_folded_weights_equal_those_by_hand():
    convolution, norm = layers.Conv2D(2, 1), layers.BatchNormalization(epsilon=0.0)
    norm(convolution(np.zeros((1, 2, 2, 1))))
    convolution.set_weights([np.array([[[[2.0, 3.0]]]]), np.array([1.0, -1.0])])
    norm.set_weights([np.array(x) for x in ([6.0, 5.0], [10.0, 20.0], [4.0, 2.0], [9.0, 25.0])])
    kernel, bias = folded_weights(convolution, norm)
    assert kernel.ravel().tolist() == pytest.approx([2 * 6 / 3, 3 * 5 / 5])
    assert bias.tolist() == pytest.approx([(1 - 4) * 6 / 3 + 10, (-1 - 2) * 5 / 5 + 20])


@pytest.mark.parametrize("norm", [{}, {"scale": False}, {"center": False}, {"scale": False, "center": False}], ids=str)
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_normalisation_is_folded_into_every_kind_of_convolution(kind, use_bias, norm):
    network = network_of(CONVOLUTIONS[kind](padding="same", use_bias=use_bias), epsilon=0.1, **norm)
    folded, images = fold_norms(network), noise(9, 12)
    assert count(folded, layers.BatchNormalization) == 0
    np.testing.assert_allclose(infer(folded, images), infer(network, images), atol=2e-6)


def test_channel_with_zero_variance_keeps_its_precision():
    network = network_of(layers.Conv2D(4, 3, padding="same"))
    norm = network.layers[-1]
    norm.moving_variance.assign(np.array([0.0, 1e-12, 1e4, 1.0]))
    images = noise(9, 12)
    np.testing.assert_allclose(infer(fold_norms(network), images), infer(network, images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "network",
    [
        network_of(layers.Conv2D(4, 3, activation="relu")),
        network_of(layers.Conv2D(4, 3), layers.ReLU()),
        network_of(layers.Conv2D(4, 3), layers.ZeroPadding2D(1)),
        network_of(layers.Conv2D(12, 3, padding="same"), axis=2),
        network_of(layers.Conv2D(4, 3), training=True),
        network_of(layers.ZeroPadding2D(1)),
    ],
    ids=["activation", "relu", "padding", "column axis", "training", "no convolution"],
)
def test_normalisation_that_cannot_be_folded_is_kept(network):
    folded, images = fold_norms(network), noise(9, 12)
    assert count(folded, layers.BatchNormalization) == 1
    np.testing.assert_allclose(infer(folded, images), infer(network, images), atol=1e-6)


def test_normalisation_before_a_padded_convolution_is_kept():
    """Folding would also shift the zeros of the padding."""
    image = keras.Input((9, 12, 3))
    x = layers.Conv2D(4, 3, padding="same")(layers.BatchNormalization()(image))
    folded = fold_norms(keras.Model(image, x))
    assert count(folded, layers.BatchNormalization) == 1
