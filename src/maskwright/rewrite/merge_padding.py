"""Merge zero padding into the subsequent convolution.

At stride 1, ``padding="same"`` adds the same number of zeros on each side for every image size. At a larger stride, the
number depends on the size, so the padding layers are not merged.
"""

from typing import Final

import keras
from keras import layers

from maskwright.rewrite.graph import Graph, Replacement, rebuild_layer, remove_layer, replace_layers

PADDED_LAYERS: Final = (layers.Conv2D, layers.DepthwiseConv2D)


def merge_padding(network: keras.Model) -> keras.Model:
    """Copy ``network`` with zero padding merged into convolutions of stride 1.

    >>> image = keras.Input((8, 8, 3))
    >>> x = layers.Conv2D(4, 3, name="conv")(layers.ZeroPadding2D(1)(image))
    >>> network = merge_padding(keras.Model(image, x))
    >>> len(network.layers), network.get_layer("conv").padding
    (2, 'same')
    """
    return replace_layers(network, padding_replacements(network))


def padding_replacements(network: keras.Model) -> dict[str, Replacement]:
    """Return the replacements of padding layers and convolutions, by layer name."""
    graph = Graph(network)
    replacements: dict[str, Replacement] = {}
    for call in graph.calls:
        producer = graph.exclusive_producer(call.inputs[0]) if type(call.layer) in PADDED_LAYERS else None
        if producer is not None and is_same_padding(producer.layer, call.layer):
            replacements[producer.layer.name] = remove_layer
            replacements[call.layer.name] = rebuild_layer(call.layer, call.layer.get_weights(), padding="same")
    return replacements


def is_same_padding(padding: keras.Layer, convolution: keras.Layer) -> bool:
    """Return whether both layers together are equal to ``convolution`` with ``padding="same"``."""
    if type(padding) is not layers.ZeroPadding2D or convolution.padding != "valid":
        return False
    if {padding.data_format, convolution.data_format} != {"channels_last"} or set(convolution.strides) != {1}:
        return False
    totals = [(k - 1) * d for k, d in zip(convolution.kernel_size, convolution.dilation_rate, strict=True)]
    return all(
        tuple(sides) == (total // 2, total - total // 2) for sides, total in zip(padding.padding, totals, strict=True)
    )
