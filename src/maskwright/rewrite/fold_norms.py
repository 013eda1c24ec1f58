"""Batch normalisation taken into the convolution before it.

When predicting, a batch normalisation multiplies every channel by one number and adds another; the convolution before
it can do both. One after the padding or the activation of a convolution stays, since neither commutes with it.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from maskwright.rewrite.graph import Graph, Step, again, replaced, skip

# For each kind of convolution the shape in which one number for each channel of its output multiplies its kernel.
CHANNEL_SHAPES: Final[Mapping[type, Callable[[keras.Layer], tuple[int, ...]]]] = {
    layers.Conv2D: lambda _: (-1,),  # kernels are (height, width, inputs, outputs)
    layers.Conv2DTranspose: lambda _: (-1, 1),  # (height, width, outputs, inputs)
    layers.DepthwiseConv2D: lambda layer: (-1, layer.depth_multiplier),  # (height, width, inputs, outputs of each)
}


def fold_norms(network: keras.Model) -> keras.Model:
    """A copy of ``network`` whose convolutions do the work of the batch normalisations right after them.

    >>> image = keras.Input((8, 8, 3))
    >>> x = layers.BatchNormalization()(layers.Conv2D(4, 3, use_bias=False, name="conv")(image))
    >>> network = fold_norms(keras.Model(image, x))
    >>> len(network.layers), network.get_layer("conv").use_bias
    (2, True)
    """
    graph = Graph(network)
    steps: dict[str, Step] = {}
    for call in graph.calls:
        if type(call.layer) is layers.BatchNormalization and not call.training:
            source = graph.source(call.inputs[0])
            if source is not None and can_fold(source.layer, call.layer):
                steps[call.layer.name] = skip
                steps[source.layer.name] = again(source.layer, folded(source.layer, call.layer), use_bias=True)
    return replaced(network, steps)


def can_fold(convolution: keras.Layer, norm: layers.BatchNormalization) -> bool:
    """Whether ``convolution`` can do the work of ``norm``, which reads all of its output."""
    return (
        type(convolution) in CHANNEL_SHAPES
        and convolution.data_format == "channels_last"
        and convolution.activation is keras.activations.linear
        and norm.axis in (-1, 3)
    )


def folded(convolution: keras.Layer, norm: layers.BatchNormalization) -> tuple[NDArray[np.float64], ...]:
    """Kernel and bias of a convolution that does the work of both layers.

    >>> convolution, norm = layers.Conv2D(1, 1, kernel_initializer="ones"), layers.BatchNormalization(epsilon=0.25)
    >>> _ = norm(convolution(np.zeros((1, 2, 2, 1))))
    >>> norm.set_weights([np.array([value]) for value in (3.0, 5.0, 1.0, 2.0)])  # gamma, beta, mean, variance
    >>> [float(numbers.item()) for numbers in folded(convolution, norm)]  # of 3 * (x - 1) / 1.5 + 5
    [2.0, 3.0]
    """
    bias = _numbers(convolution.bias) if convolution.use_bias else 0.0
    scale = (_numbers(norm.gamma) if norm.scale else 1.0) / np.sqrt(_numbers(norm.moving_variance) + norm.epsilon)
    shift = (_numbers(norm.beta) if norm.center else 0.0) - _numbers(norm.moving_mean) * scale
    by_channel = scale.reshape(CHANNEL_SHAPES[type(convolution)](convolution))
    return _numbers(convolution.kernel) * by_channel, bias * scale + shift


def _numbers(variable: Any) -> NDArray[np.float64]:
    return np.asarray(keras.ops.convert_to_numpy(variable), dtype=np.float64)
