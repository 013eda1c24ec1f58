"""Merge upsampling and the convolution after it into a transposed convolution of the small feature map.

Nearest-neighbour upsampling by r followed by a convolution with a k x k kernel equals a transposed convolution of
stride r, whose kernel is the full convolution of that kernel with an r x r kernel of ones. For odd k and zero padding,
the result is also exact at the borders. The transposed convolution requires (k + r - 1)**2 multiplications per small
pixel instead of (k * r)**2, which is 16 instead of 36 for k = 3 and r = 2, and the upsampled feature map is never
stored. A convolution of concatenated feature maps is the sum of the convolutions of each feature map.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from maskwright.rewrite.graph import Graph, Replacement, call_with_weights, remove_layer, replace_layers


def merge_upsampling(network: keras.Model) -> keras.Model:
    """Copy ``network`` with nearest-neighbour upsampling merged into the convolutions after it.

    An upsampled feature map may be concatenated with other feature maps, of which at most one is not upsampled.

    >>> image = keras.Input((8, 8, 3))
    >>> x = layers.UpSampling2D(2, name="up")(image)
    >>> network = merge_upsampling(keras.Model(image, layers.Conv2D(4, 3, padding="same")(x)))
    >>> [type(layer).__name__ for layer in network.layers], network.output_shape
    (['InputLayer', 'Conv2DTranspose'], (None, 16, 16, 4))
    """
    graph = Graph(network)
    replacements: dict[str, Replacement] = {}
    for call in graph.calls:
        if not can_transpose(call.layer):
            continue
        concatenation = graph.exclusive_producer(call.inputs[0])
        if concatenation is None or not concatenates_channels(concatenation.layer):
            concatenation = None
        inputs = (concatenation or call).inputs
        producers = [graph.exclusive_producer(tensor) for tensor in inputs]
        upsampling = [
            producer.layer if producer and is_nearest_upsampling(producer.layer) else None for producer in producers
        ]
        if any(upsampling) and upsampling.count(None) <= 1:
            replacements |= {layer.name: remove_layer for layer in (*upsampling, call.layer) if layer}
            channels = [tensor.shape[-1] for tensor in inputs]
            # The first call with all inputs replaces the convolution.
            replaced = (concatenation or call).layer
            replacements[replaced.name] = sum_of_convolutions(call.layer, upsampling, channels=channels)
    return replace_layers(network, replacements)


def can_transpose(layer: keras.Layer) -> bool:
    """Return whether ``layer`` is a zero-padded convolution with odd kernel sides, stride 1 and no groups."""
    return (
        type(layer) is layers.Conv2D
        and layer.data_format == "channels_last"
        and layer.padding == "same"
        and layer.groups == 1
        and {*layer.strides, *layer.dilation_rate} == {1}
        and all(side % 2 for side in layer.kernel_size)
    )


def concatenates_channels(layer: keras.Layer) -> bool:
    """Return whether ``layer`` concatenates feature maps along the channel axis."""
    return type(layer) is layers.Concatenate and layer.axis in (-1, 3)


def is_nearest_upsampling(layer: keras.Layer) -> bool:
    """Return whether ``layer`` upsamples by nearest neighbour."""
    return (
        type(layer) is layers.UpSampling2D and layer.interpolation == "nearest" and layer.data_format == "channels_last"
    )


def sum_of_convolutions(
    convolution: layers.Conv2D, upsampling: Sequence[layers.UpSampling2D | None], *, channels: Sequence[int]
) -> Replacement:
    """Return a replacement that applies ``convolution`` to feature maps before upsampling and concatenation.

    Args:
        convolution: Convolution layer for which `can_transpose` is true.
        upsampling: Upsampling layer of each feature map, or None for a feature map that is not upsampled.
        channels: Number of channels of each feature map.
    """

    def replacement(feature_maps: Any, **_: Any) -> keras.KerasTensor:
        kernel, *bias = convolution.get_weights()
        kernels = np.split(kernel, np.cumsum(channels)[:-1], axis=2)
        terms: list[keras.KerasTensor] = []
        for x, up, term_kernel in zip(keras.tree.flatten(feature_maps), upsampling, kernels, strict=True):
            term_bias = [] if terms else bias  # only the first term adds the bias
            layer = _convolution_of_part(convolution, up, use_bias=bool(term_bias))
            weights = term_kernel if up is None else transposed_kernel(term_kernel, up.size)
            terms.append(call_with_weights(layer, x, [weights, *term_bias]))
        dtype = convolution.dtype_policy
        y = layers.Add(name=f"{convolution.name}_sum", dtype=dtype)(terms) if terms[1:] else terms[0]
        if convolution.activation is keras.activations.linear:
            return y
        return layers.Activation(convolution.activation, dtype=dtype, name=f"{convolution.name}_activation")(y)

    return replacement


def _convolution_of_part(convolution: layers.Conv2D, up: layers.UpSampling2D | None, *, use_bias: bool) -> keras.Layer:
    """Create a layer that applies ``convolution`` to some of its input channels after ``up``, without activation.

    A transposed convolution has the name of the upsampling layer that it replaces.
    """
    if up is None:
        return layers.Conv2D.from_config(convolution.get_config() | {"use_bias": use_bias, "activation": None})
    return layers.Conv2DTranspose(
        convolution.filters,
        [side + rate - 1 for side, rate in zip(convolution.kernel_size, up.size, strict=True)],
        strides=up.size,
        padding="same",
        use_bias=use_bias,
        dtype=convolution.dtype_policy,
        name=up.name,
    )


def transposed_kernel(kernel: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.float64]:
    """Return the kernel of the transposed convolution that equals upsampling followed by a convolution.

    Args:
        kernel: Kernel of the convolution, of shape (height, width, inputs, outputs).
        size: Upsampling factors of height and width.

    Returns:
        Array of shape (height + size[0] - 1, width + size[1] - 1, outputs, inputs).

    >>> row = np.array([1.0, 2.0, 4.0]).reshape(1, 3, 1, 1)
    >>> transposed_kernel(row, (1, 2)).ravel()  # 4, 2, 1 plus 4, 2, 1 shifted by one pixel
    array([4., 6., 3., 1.])
    """
    flipped = kernel[::-1, ::-1].transpose(0, 1, 3, 2)
    height, width, *channels = flipped.shape
    result = np.zeros((height + size[0] - 1, width + size[1] - 1, *channels))
    for row, column in np.ndindex(*size):
        result[row : row + height, column : column + width] += flipped
    return result
