"""Count the operations of a training step of a network."""

import math
from typing import Any, Final

import keras

from maskwright.rewrite.graph import layer_shapes
from maskwright.training.muon import Muon, block_shape
from maskwright.training.step_work import StepWork

_GRAM_PRODUCTS: Final = 17  # products of Gram matrices in the iterations of one orthogonalisation
_FULL_PRODUCTS: Final = 2  # products of a block of the kernel with a Gram matrix


def step_work(network: keras.Model, *, patch: tuple[int, int], batch_size: int) -> StepWork:
    """Count the operations of a training step.

    Args:
        network: Network in training. Work of the optimizer is counted if the network is compiled.
        patch: Height and width of the patches, in pixels.
        batch_size: Number of patches in the batch.

    >>> image = keras.Input((None, None, 3))
    >>> network = keras.Model(image, keras.layers.ReLU()(keras.layers.Conv2D(8, 3, padding="same")(image)))
    >>> work = step_work(network, patch=(4, 5), batch_size=2)
    >>> pixels = 2 * 4 * 5
    >>> work.convolution == pixels * 3 * 3 * 3 * 8, work.convolved == pixels * (3 + 8), work.values == pixels * 8
    (True, True, True)
    """
    work = forward_work(network, (*patch, network.input_shape[-1]))
    scaled = StepWork(*(batch_size * number for number in work))
    optimizer = getattr(network, "optimizer", None)
    return scaled._replace(
        layers=work.layers,
        parameters=sum(math.prod(weight.shape) for weight in network.trainable_weights),
        orthogonalised=_orthogonalised(optimizer, network) if isinstance(optimizer, Muon) else 0.0,
    )


def forward_work(network: keras.Model, image: tuple[int, int, int]) -> StepWork:
    """Count the operations of all layers, including those of nested models, for one image (h, w, c)."""
    functional = network._functional if isinstance(network, keras.Sequential) else network
    shapes = layer_shapes(functional, image)
    total = StepWork()
    for layer in network.layers:
        if layer.name in shapes:
            total = total + _layer_work(layer, *shapes[layer.name])
    return total


def _layer_work(layer: keras.layers.Layer, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> StepWork:
    """Count the operations of one layer for one image."""
    values_in, values_out = math.prod(input_shape[1:]), math.prod(output_shape[1:])
    if isinstance(layer, keras.Model):
        height, width, channels = input_shape[1:]
        return forward_work(layer, (height, width, channels))
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        multiply_adds = math.prod(output_shape[1:-1]) * math.prod(layer.kernel.shape)
        return StepWork(layers=1, depthwise=multiply_adds, values=values_in + values_out)
    if isinstance(layer, keras.layers.Conv2D | keras.layers.Conv2DTranspose | keras.layers.Dense):
        pixels = math.prod(input_shape[1:-1] if isinstance(layer, keras.layers.Conv2DTranspose) else output_shape[1:-1])
        multiply_adds = pixels * math.prod(layer.kernel.shape)
        is_pointwise = math.prod(layer.kernel.shape[:-2]) == 1
        return StepWork(
            layers=1,
            convolution=0 if is_pointwise else multiply_adds,
            pointwise=multiply_adds if is_pointwise else 0,
            convolved=values_in + values_out,
        )
    return StepWork(layers=1, values=values_out)


def _orthogonalised(optimizer: Any, network: keras.Model) -> float:
    """Count the multiply-adds of the orthogonalisation of all kernels that Muon updates."""
    shapes = [tuple(weight.shape) for weight in network.trainable_weights if optimizer.is_orthogonalised(weight)]
    total = 0.0
    for shape in shapes:
        rows, columns = block_shape(shape)
        blocks = math.prod(shape) / (rows * columns)
        side = min(rows, columns)
        total += blocks * (_FULL_PRODUCTS * rows * columns * side + _GRAM_PRODUCTS * side**3)
    return total
