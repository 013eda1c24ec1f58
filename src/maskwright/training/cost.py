"""What a training will need in time and memory on this machine, told before it starts."""

import math
import time
from dataclasses import dataclass

import keras
import numpy as np

from maskwright.rewrite.graph import Shape, shapes_in

_MEASURED_SIDE = 1536
# Of the rate of a large matrix product, what a whole training step reaches.
_EFFICIENCY = 0.6
# A backward pass computes two products for each one of the forward pass.
_PASSES = 3
# Weights, gradients and at most two numbers of the optimizer's for each, float32.
_COPIES = 4
_FRAMEWORK_BYTES = 1.0e9


@dataclass(frozen=True)
class Cost:
    """What a training step needs."""

    parameters: int
    multiply_adds: int
    """Of a forward pass of one batch."""
    step_seconds: float
    """Estimated."""
    memory_bytes: float
    """Estimated peak of the whole process."""


def estimate_cost(network: keras.Model, *, patch: tuple[int, int], batch_size: int, cache_bytes: int) -> Cost:
    """The cost of a training step of a network on patches of (height, width) pixels.

    The arithmetic is counted layer by layer and divided by the rate of a matrix product, measured here and now in the
    network's precision; the memory is what the layers' outputs, the weights, the optimizer and the images take.
    """
    compute = keras.dtype_policies.get(network.layers[1].dtype_policy).compute_dtype
    shapes = shapes_in(network, (*patch, network.input_shape[-1]))
    multiply_adds = batch_size * sum(
        _multiply_adds(layer, *shapes[layer.name]) for layer in network.layers if layer.name in shapes
    )
    outputs = batch_size * sum(math.prod(output[1:]) for _, output in shapes.values())
    width = 2 if compute == "bfloat16" else 4
    parameters = network.count_params()
    return Cost(
        parameters=parameters,
        multiply_adds=multiply_adds,
        step_seconds=_PASSES * multiply_adds / (_EFFICIENCY * _measured_rate(compute)),
        memory_bytes=outputs * width + parameters * 4 * _COPIES + cache_bytes + _FRAMEWORK_BYTES,
    )


def _multiply_adds(layer: keras.layers.Layer, before: Shape, after: Shape) -> int:
    """Multiplications of one image through a convolution; those of other layers do not weigh."""
    if isinstance(layer, keras.layers.Conv2DTranspose):
        return math.prod(before[1:3]) * math.prod(layer.kernel.shape)
    if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
        return math.prod(after[1:3]) * math.prod(layer.kernel.shape)
    return 0


def _measured_rate(dtype: str) -> float:
    """Multiply-adds a second of a large matrix product on this machine: the best of three."""
    matrix = keras.ops.cast(np.random.default_rng(0).random((_MEASURED_SIDE, _MEASURED_SIDE), np.float32), dtype)
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        keras.ops.convert_to_numpy(keras.ops.cast(keras.ops.matmul(matrix, matrix)[0, 0], "float32"))
        seconds.append(time.perf_counter() - start)
    return _MEASURED_SIDE**3 / min(seconds[1:])
