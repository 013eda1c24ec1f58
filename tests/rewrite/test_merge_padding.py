"""Merging of zero padding into a convolution, and the padding that is kept."""

import keras
import numpy as np
import pytest
from keras import layers

from maskwright.rewrite.merge_padding import merge_padding
from tests.networks.randomise import infer, randomise
from tests.networks.tiny import noise

MERGED = {
    "3 x 3": (1, layers.Conv2D(4, 3)),
    "5 x 3": ((2, 1), layers.Conv2D(4, (5, 3))),
    "4 x 4": (((1, 2), (1, 2)), layers.Conv2D(4, 4)),
    "dilated": (3, layers.Conv2D(4, 3, dilation_rate=3)),
    "depthwise": (1, layers.DepthwiseConv2D(3, activation="relu")),
    "grouped": (1, layers.Conv2D(6, 3, groups=3)),
}
KEPT = {
    "stride": (1, layers.Conv2D(4, 3, strides=2)),
    "wider": (2, layers.Conv2D(4, 3)),
    "narrower": (1, layers.Conv2D(4, 5)),
    "one side": (((0, 2), (1, 1)), layers.Conv2D(4, 3)),
    "already padded": (1, layers.Conv2D(4, 3, padding="same")),
    "transposed": (1, layers.Conv2DTranspose(4, 3)),
    "pooling": (1, layers.MaxPooling2D(3)),
}


@pytest.mark.parametrize("name", MERGED | KEPT)
def test_padding_is_merged_only_if_it_equals_same_padding(name):
    padding, layer = (MERGED | KEPT)[name]
    image = keras.Input((9, 12, 3))
    network = randomise(keras.Model(image, layer(layers.ZeroPadding2D(padding)(image))))
    rewritten, images = merge_padding(network), noise(9, 12)
    assert [layer.name for layer in network.layers if isinstance(layer, layers.ZeroPadding2D)]
    assert len(rewritten.layers) == (2 if name in MERGED else 3)
    np.testing.assert_allclose(infer(rewritten, images), infer(network, images), atol=1e-6)


def test_padding_with_two_consumers_is_kept():
    image = keras.Input((9, 12, 3))
    padded = layers.ZeroPadding2D(1)(image)
    x = layers.Add()([layers.Conv2D(4, 3)(padded) for _ in range(2)])
    assert len(merge_padding(keras.Model(image, x)).layers) == 5
