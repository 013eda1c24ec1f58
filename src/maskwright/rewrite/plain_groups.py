"""Replace `GroupedConv2D` by the grouped convolution of Keras, which inference engines support as one operation.

`GroupedConv2D` splits the computation to train faster on a CPU; OpenVINO cannot read that graph.
"""

import keras
from keras import layers

from maskwright.networks.grouped_conv import GroupedConv2D
from maskwright.rewrite.graph import Graph, rebuild_layer, replace_layers


def replace_grouped_convolutions(network: keras.Model) -> keras.Model:
    """Copy ``network`` with each `GroupedConv2D` replaced by a ``Conv2D(groups=...)`` with its name and weights.

    >>> image = keras.Input((8, 8, 4))
    >>> network = keras.Model(image, GroupedConv2D(6, 3, groups=2, name="conv")(image))
    >>> layer = replace_grouped_convolutions(network).get_layer("conv")
    >>> type(layer).__name__, layer.groups
    ('Conv2D', 2)
    """
    grouped = [call.layer for call in Graph(network).calls if type(call.layer) is GroupedConv2D]
    replacements = {
        layer.name: rebuild_layer(layer, layer.get_weights(), layer_class=layers.Conv2D) for layer in grouped
    }
    return replace_layers(network, replacements)
