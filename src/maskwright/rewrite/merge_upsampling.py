"""Enlarging taken into the convolution after it, which becomes a transposed convolution of the small map.

Repeating every pixel r times each way, then convolving with k x k numbers, is the transposed convolution of stride r
with these numbers convolved with r x r ones. For odd k and padding with zeros the borders agree as well. A small pixel
costs (k + r - 1)**2 products in place of (k * r)**2, 16 in place of 36 for k = 3 and r = 2, and the enlarged map is
never made. Where it is joined with others, their convolution is the sum of each one's own.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from maskwright.rewrite.graph import Graph, Step, apply, replaced, skip


def merge_enlarging(network: keras.Model) -> keras.Model:
    """A copy of ``network`` with transposed convolutions where it repeated pixels and convolved the result.

    The repeated pixels may be joined with those of other maps, of which at most one is not enlarged itself.

    >>> image = keras.Input((8, 8, 3))
    >>> x = layers.UpSampling2D(2, name="up")(image)
    >>> network = merge_enlarging(keras.Model(image, layers.Conv2D(4, 3, padding="same")(x)))
    >>> [type(layer).__name__ for layer in network.layers], network.output_shape
    (['InputLayer', 'Conv2DTranspose'], (None, 16, 16, 4))
    """
    graph = Graph(network)
    steps: dict[str, Step] = {}
    for call in graph.calls:
        if not keeps_size(call.layer):
            continue
        joining = graph.source(call.inputs[0])
        if joining is None or not joins_channels(joining.layer):
            joining = None
        maps = (joining or call).inputs
        sources = [graph.source(tensor) for tensor in maps]
        enlarging = [source.layer if source and repeats_pixels(source.layer) else None for source in sources]
        if any(enlarging) and enlarging.count(None) <= 1:
            steps |= {layer.name: skip for layer in (*enlarging, call.layer) if layer}
            channels = [tensor.shape[-1] for tensor in maps]
            all_at_hand = joining or call
            steps[all_at_hand.layer.name] = sum_of_parts(call.layer, enlarging, channels=channels)
    return replaced(network, steps)


def keeps_size(layer: keras.Layer) -> bool:
    """Whether ``layer`` is a convolution that can enlarge as well: of odd sides, surrounded by zeros."""
    return (
        type(layer) is layers.Conv2D
        and layer.data_format == "channels_last"
        and layer.padding == "same"
        and layer.groups == 1
        and {*layer.strides, *layer.dilation_rate} == {1}
        and all(side % 2 for side in layer.kernel_size)
    )


def joins_channels(layer: keras.Layer) -> bool:
    """Whether ``layer`` puts the channels of maps together."""
    return type(layer) is layers.Concatenate and layer.axis in (-1, 3)


def repeats_pixels(layer: keras.Layer) -> bool:
    """Whether ``layer`` enlarges maps by repeating their pixels."""
    return (
        type(layer) is layers.UpSampling2D and layer.interpolation == "nearest" and layer.data_format == "channels_last"
    )


def sum_of_parts(
    convolution: layers.Conv2D, enlarging: Sequence[layers.UpSampling2D | None], *, channels: Sequence[int]
) -> Step:
    """The step of ``convolution`` on maps before they are enlarged and joined.

    Args:
        convolution: One that `keeps_size`.
        enlarging: For each map the layer that enlarged it, None for none.
        channels: Channels of each map.
    """

    def step(maps: Any, **_: Any) -> keras.KerasTensor:
        numbers = convolution.get_weights()
        kernels = np.split(numbers[0], np.cumsum(channels)[:-1], axis=2)
        parts: list[keras.KerasTensor] = []
        for x, up, kernel in zip(keras.tree.flatten(maps), enlarging, kernels, strict=True):
            bias = [] if parts else numbers[1:]  # once is enough
            layer = part_of(convolution, up, use_bias=bool(bias))
            parts.append(apply(layer, x, [kernel if up is None else enlarging_kernel(kernel, up.size), *bias]))
        y = layers.Add(name=f"{convolution.name}_sum", dtype=convolution.dtype_policy)(parts) if parts[1:] else parts[0]
        if convolution.activation is keras.activations.linear:
            return y
        name = f"{convolution.name}_activation"
        return layers.Activation(convolution.activation, dtype=convolution.dtype_policy, name=name)(y)

    return step


def part_of(convolution: layers.Conv2D, up: layers.UpSampling2D | None, *, use_bias: bool) -> keras.Layer:
    """A layer that does what ``convolution`` does to some of its channels, enlarged by ``up``; no activation follows.

    It has the name of ``up``, where that enlarges.
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


def enlarging_kernel(kernel: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.float64]:
    """The kernel (height + size[0] - 1, width + size[1] - 1, outputs, inputs) of the transposed convolution.

    Args:
        kernel: That of a convolution, (height, width, inputs, outputs).
        size: How often each pixel was repeated before that convolution, down and across.

    >>> row = np.array([1.0, 2.0, 4.0]).reshape(1, 3, 1, 1)
    >>> enlarging_kernel(row, (1, 2)).ravel()  # 4, 2, 1, and again one pixel later
    array([4., 6., 3., 1.])
    """
    flipped = kernel[::-1, ::-1].transpose(0, 1, 3, 2)
    height, width, *channels = flipped.shape
    sums = np.zeros((height + size[0] - 1, width + size[1] - 1, *channels))
    for down, across in np.ndindex(*size):
        sums[down : down + height, across : across + width] += flipped
    return sums
