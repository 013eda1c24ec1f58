"""Zero padding taken into the convolution after it.

At stride 1 a convolution with ``padding="same"`` surrounds its map with as many zeros on each side; at a larger stride
it does so only for some sizes.
"""

from typing import Final

import keras
from keras import layers

from maskwright.rewrite.graph import Graph, Step, again, replaced, skip

PADDED: Final = (layers.Conv2D, layers.DepthwiseConv2D)


def take_in_padding(network: keras.Model) -> keras.Model:
    """A copy of ``network`` whose convolutions of stride 1 pad by themselves.

    >>> image = keras.Input((8, 8, 3))
    >>> x = layers.Conv2D(4, 3, name="conv")(layers.ZeroPadding2D(1)(image))
    >>> network = take_in_padding(keras.Model(image, x))
    >>> len(network.layers), network.get_layer("conv").padding
    (2, 'same')
    """
    return replaced(network, padding_steps(network))


def padding_steps(network: keras.Model) -> dict[str, Step]:
    """What `take_in_padding` does in place of layers of ``network``."""
    graph = Graph(network)
    steps: dict[str, Step] = {}
    for call in graph.calls:
        source = graph.source(call.inputs[0]) if type(call.layer) in PADDED else None
        if source is not None and pads_as_same(source.layer, call.layer):
            steps[source.layer.name] = skip
            steps[call.layer.name] = again(call.layer, call.layer.get_weights(), padding="same")
    return steps


def pads_as_same(padding: keras.Layer, convolution: keras.Layer) -> bool:
    """Whether both layers together are ``convolution`` with ``padding="same"``."""
    if type(padding) is not layers.ZeroPadding2D or convolution.padding != "valid":
        return False
    if {padding.data_format, convolution.data_format} != {"channels_last"} or set(convolution.strides) != {1}:
        return False
    reaches = [(k - 1) * d for k, d in zip(convolution.kernel_size, convolution.dilation_rate, strict=True)]
    return all(
        tuple(side) == (reach // 2, reach - reach // 2) for side, reach in zip(padding.padding, reaches, strict=True)
    )
