"""Grouped convolutions as Keras' own, which engines know as one operation.

`GroupedConv2D` computes them in pieces, for the sake of training on a CPU; OpenVINO cannot read those.
"""

import keras
from keras import layers

from maskwright.networks.grouped_conv import GroupedConv2D
from maskwright.rewrite.graph import Graph, again, replaced


def make_groups_plain(network: keras.Model) -> keras.Model:
    """A copy of ``network`` with each `GroupedConv2D` as a ``Conv2D(groups=...)`` of its name and weights.

    >>> image = keras.Input((8, 8, 4))
    >>> network = make_groups_plain(keras.Model(image, GroupedConv2D(6, 3, groups=2, name="conv")(image)))
    >>> type(network.get_layer("conv")).__name__, network.get_layer("conv").groups
    ('Conv2D', 2)
    """
    grouped = [call.layer for call in Graph(network).calls if type(call.layer) is GroupedConv2D]
    return replaced(network, {layer.name: again(layer, layer.get_weights(), kind=layers.Conv2D) for layer in grouped})
