"""Fold batch normalisation into the preceding convolution.

At inference, batch normalisation multiplies every channel by a constant and adds another constant. Both operations can
be included in the convolution before it. Batch normalisation after the padding or the activation of a convolution is
not folded because it does not commute with either.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from maskwright.rewrite.graph import Graph, Replacement, rebuild_layer, remove_layer, replace_layers

# Functions that return the shape in which one factor per output channel multiplies the kernel, by convolution class.
SCALE_SHAPES: Final[Mapping[type, Callable[[keras.Layer], tuple[int, ...]]]] = {
    layers.Conv2D: lambda _: (-1,),  # kernels are (height, width, inputs, outputs)
    layers.Conv2DTranspose: lambda _: (-1, 1),  # (height, width, outputs, inputs)
    layers.DepthwiseConv2D: lambda layer: (-1, layer.depth_multiplier),  # (height, width, inputs, outputs per input)
}


def fold_norms(network: keras.Model) -> keras.Model:
    """Copy ``network`` with batch normalisation folded into the convolutions directly before it.

    >>> image = keras.Input((8, 8, 3))
    >>> x = layers.BatchNormalization()(layers.Conv2D(4, 3, use_bias=False, name="conv")(image))
    >>> network = fold_norms(keras.Model(image, x))
    >>> len(network.layers), network.get_layer("conv").use_bias
    (2, True)
    """
    graph = Graph(network)
    replacements: dict[str, Replacement] = {}
    for call in graph.calls:
        if type(call.layer) is layers.BatchNormalization and not call.training:
            producer = graph.exclusive_producer(call.inputs[0])
            if producer is not None and can_fold(producer.layer, call.layer):
                convolution, norm = producer.layer, call.layer
                replacements[norm.name] = remove_layer
                weights = folded_weights(convolution, norm)
                replacements[convolution.name] = rebuild_layer(convolution, weights, use_bias=True)
    return replace_layers(network, replacements)


def can_fold(convolution: keras.Layer, norm: layers.BatchNormalization) -> bool:
    """Return whether ``norm``, the only consumer of ``convolution``, can be folded into it."""
    return (
        type(convolution) in SCALE_SHAPES
        and convolution.data_format == "channels_last"
        and convolution.activation is keras.activations.linear
        and norm.axis in (-1, 3)
    )


def folded_weights(convolution: keras.Layer, norm: layers.BatchNormalization) -> tuple[NDArray[np.float64], ...]:
    """Return the kernel and bias of a convolution that equals both layers together.

    >>> convolution, norm = layers.Conv2D(1, 1, kernel_initializer="ones"), layers.BatchNormalization(epsilon=0.25)
    >>> _ = norm(convolution(np.zeros((1, 2, 2, 1))))
    >>> norm.set_weights([np.array([value]) for value in (3.0, 5.0, 1.0, 2.0)])  # gamma, beta, mean, variance
    >>> [float(weights.item()) for weights in folded_weights(convolution, norm)]  # 3 * (x - 1) / 1.5 + 5
    [2.0, 3.0]
    """
    bias = _float64(convolution.bias) if convolution.use_bias else 0.0
    scale = (_float64(norm.gamma) if norm.scale else 1.0) / np.sqrt(_float64(norm.moving_variance) + norm.epsilon)
    shift = (_float64(norm.beta) if norm.center else 0.0) - _float64(norm.moving_mean) * scale
    kernel_scale = scale.reshape(SCALE_SHAPES[type(convolution)](convolution))
    return _float64(convolution.kernel) * kernel_scale, bias * scale + shift


def _float64(variable: Any) -> NDArray[np.float64]:
    return np.asarray(keras.ops.convert_to_numpy(variable), dtype=np.float64)
