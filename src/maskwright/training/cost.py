"""Estimate the time and the memory needed for training on this machine before training starts."""

import math
import time
from dataclasses import dataclass
from typing import Final

import keras
import numpy as np

from maskwright.rewrite.graph import Shape, layer_shapes

_BENCHMARK_SIDE: Final = 1536
_STEP_EFFICIENCY: Final = 0.6  # speed of a training step relative to that of a large matrix product
_FORWARD_AND_BACKWARD: Final = 3  # relative to the forward pass; the backward pass takes twice as long
_COPIES_OF_WEIGHTS: Final = 4  # float32 weights, gradients and at most two optimizer variables per weight
_FRAMEWORK_BYTES: Final = 1.0e9


@dataclass(frozen=True)
class Cost:
    """Estimated time and memory of a training step, and number of parameters of the network."""

    parameters: int
    multiply_adds: int
    """Number of multiply-add operations in the forward pass of a batch."""
    step_seconds: float
    memory_bytes: float
    """Peak memory of the whole process, in bytes."""


def estimate_cost(network: keras.Model, *, patch: tuple[int, int], batch_size: int, cache_bytes: int) -> Cost:
    """Estimate the cost of a training step of a network.

    The time is the number of multiply-adds of all convolutions and dense layers divided by the speed of a matrix
    product, which is measured in the precision of the network. The memory is the sum of layer outputs, weights,
    optimizer variables and cached images.

    Args:
        network: Network in training.
        patch: Height and width of the training patches, in pixels.
        batch_size: Number of patches per batch.
        cache_bytes: Size of the cache of images, in bytes.
    """
    compute = keras.dtype_policies.get(network.layers[1].dtype_policy).compute_dtype
    shapes = layer_shapes(network, (*patch, network.input_shape[-1]))
    multiply_adds = batch_size * count_multiply_adds(network, (*patch, network.input_shape[-1]))
    outputs = batch_size * sum(math.prod(output[1:]) for _, output in shapes.values())
    value_bytes = 2 if compute == "bfloat16" else 4
    parameters = network.count_params()
    return Cost(
        parameters=parameters,
        multiply_adds=multiply_adds,
        step_seconds=_FORWARD_AND_BACKWARD * multiply_adds / (_STEP_EFFICIENCY * _measure_speed(compute)),
        memory_bytes=outputs * value_bytes + parameters * 4 * _COPIES_OF_WEIGHTS + cache_bytes + _FRAMEWORK_BYTES,
    )


def count_multiply_adds(network: keras.Model, image: tuple[int, int, int]) -> int:
    """Return the number of multiply-adds of all convolutions and dense layers, also of nested models, for one image.

    Args:
        network: Functional or sequential model.
        image: Height, width and number of channels of the image.

    >>> image = keras.Input((None, None, 3))
    >>> body = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(8, 3, padding="same")])
    >>> network = keras.Model(image, keras.layers.Dense(2)(body(image)))
    >>> count_multiply_adds(network, (4, 5, 3)) == 4 * 5 * (3 * 3 * 3 * 8 + 8 * 2)
    True
    """
    functional = network._functional if isinstance(network, keras.Sequential) else network
    shapes = layer_shapes(functional, image)
    return sum(_multiply_adds(layer, *shapes[layer.name]) for layer in network.layers if layer.name in shapes)


def _multiply_adds(layer: keras.layers.Layer, input_shape: Shape, output_shape: Shape) -> int:
    """Return the number of multiply-adds of a layer for one image; 0 for layers without a kernel."""
    if isinstance(layer, keras.Model):
        height, width, channels = input_shape[1:]
        return count_multiply_adds(layer, (height, width, channels))
    if isinstance(layer, keras.layers.Conv2DTranspose):
        return math.prod(input_shape[1:3]) * math.prod(layer.kernel.shape)
    if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D | keras.layers.Dense):
        return math.prod(output_shape[1:-1]) * math.prod(layer.kernel.shape)
    return 0


def _measure_speed(dtype: str) -> float:
    """Return the best of three measurements of the multiply-adds per second of a large matrix product."""
    matrix = keras.ops.cast(np.random.default_rng(0).random((_BENCHMARK_SIDE, _BENCHMARK_SIDE), np.float32), dtype)
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        keras.ops.convert_to_numpy(keras.ops.cast(keras.ops.matmul(matrix, matrix)[0, 0], "float32"))
        seconds.append(time.perf_counter() - start)
    return _BENCHMARK_SIDE**3 / min(seconds[1:])
