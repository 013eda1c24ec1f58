"""Adapt network weights for RGB images to another number of input channels.

The rules are those of timm and segmentation_models_pytorch, which preserve the scale of the features.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from maskwright.errors import InputError
from maskwright.networks.preprocessing import Preprocessing

Array = NDArray[np.floating[Any]]

RGB: Final = 3


class UnadaptableWeights(InputError):
    """A weight that depends on the number of image channels but to which no adaptation rule applies."""

    text = (
        "{network}: {weight} has shape {found} for RGB images and {expected} here. Only the kernel of a convolution "
        "and the statistics of a normalisation that are applied to the image can be adapted."
    )


def adapt_kernel(kernel: Array, channels: int) -> Array:
    """Adapt a kernel (h, w, 3, filters) for RGB images to (h, w, channels, filters).

    For one channel, the kernels of the three channels are added, so the output for a gray image equals the output of
    the original kernel for three copies of the image. For other numbers of channels, the kernels of the three channels
    are repeated in turn and scaled by 3 / ``channels``, which preserves the magnitude of the sum.

    >>> adapt_kernel(np.array([1.0, 2.0, 4.0]).reshape(1, 1, 3, 1), 1).ravel()
    array([7.])
    >>> adapt_kernel(np.array([1.0, 2.0, 4.0]).reshape(1, 1, 3, 1), 4).ravel()
    array([0.75, 1.5 , 3.  , 0.75])
    """
    if channels == 1:
        return kernel.sum(axis=-2, keepdims=True)
    return kernel[..., np.arange(channels) % RGB, :] * (RGB / channels)


def adapt_statistics(values: Array, channels: int) -> Array:
    """Adapt the statistics (3,) of a normalisation of RGB images to (channels,).

    For one channel, the statistics are averaged; for other numbers of channels, they are repeated in turn. They are not
    scaled because they describe the values of single channels.

    >>> adapt_statistics(np.array([1.0, 2.0, 6.0]), 1), adapt_statistics(np.array([1.0, 2.0, 6.0]), 4)
    (array([3.]), array([1., 2., 6., 1.]))
    """
    if channels == 1:
        return values.mean(keepdims=True)
    return values[np.arange(channels) % RGB]


# Rules by type of layer. Depthwise convolutions have no rule because their number of outputs depends on the input
# channels.
RULES: Final[Mapping[type[keras.Layer], Callable[[Array, int], Array]]] = {
    layers.Conv2D: adapt_kernel,
    layers.BatchNormalization: adapt_statistics,
}


def image_channels(network: keras.Model) -> int:
    """Return the number of input channels of ``network``."""
    channels: int = network.inputs[0].shape[-1]
    return channels


def clone_for_rgb(network: keras.Model) -> keras.Model:
    """Clone the graph of ``network`` for three input channels, with new weights."""
    image = network.inputs[0]
    source = keras.Input((*image.shape[1:-1], RGB), dtype=image.dtype)
    return keras.models.clone_model(network, input_tensors=source, clone_function=_unbuilt)


def _unbuilt(layer: keras.Layer) -> keras.Layer:
    if isinstance(layer, keras.Sequential):  # its config stores the number of channels, as in the stem of ConvNeXt
        return keras.Sequential([_unbuilt(inner) for inner in layer.layers], name=layer.name)
    return type(layer).from_config(layer.get_config())


def copy_adapted(source: keras.Model, target: keras.Model) -> None:
    """Copy the weights of ``source``, a network for RGB images, to ``target``, the same network for other channels.

    Weights whose shapes differ are adapted, and all other weights are copied.

    Raises:
        UnadaptableWeights: The shape of a weight differs in more than the input channels; ``target`` is then unchanged.
    """
    pairs = zip(_layers(source), _layers(target), strict=True)
    adapt = partial(_adapted, channels=image_channels(target), network=target.name)
    arrays = [
        adapt(*weights, ours) for theirs, ours in pairs for weights in zip(theirs.weights, ours.weights, strict=True)
    ]
    for weight, array in zip(target.weights, arrays, strict=True):
        weight.assign(array)


def _layers(network: keras.Model) -> Iterator[keras.Layer]:
    for layer in network.layers:
        yield from _layers(layer) if isinstance(layer, keras.Model) else [layer]


def _adapted(theirs: keras.Variable, ours: keras.Variable, layer: keras.Layer, *, channels: int, network: str) -> Array:
    array: Array = keras.ops.convert_to_numpy(theirs.value)
    # The input axis of a kernel is the second-to-last axis; statistics have only one axis.
    if theirs.shape != ours.shape and type(layer) in RULES and array.shape[-2:][0] == RGB:
        array = RULES[type(layer)](array, channels)
    if array.shape != tuple(ours.shape):
        raise UnadaptableWeights(network=network, weight=ours.path, found=theirs.shape, expected=ours.shape)
    return array


def reverse_image_channels(network: keras.Model) -> None:
    """Convert a network between BGR and RGB images by reversing the input channels of its first kernels.

    Raises:
        UnadaptableWeights: A first layer is not a convolution with three input channels.
    """
    first = [layer for layer in network.layers if layer.weights and layer.input is network.inputs[0]]
    for layer in first:
        if not isinstance(layer, layers.Conv2D) or layer.kernel.shape[2] != RGB:
            expected = "the kernel of a convolution on three channels"
            raise UnadaptableWeights(
                network=network.name, weight=layer.name, found=layer.weights[0].shape, expected=expected
            )
    for layer in first:
        layer.kernel.assign(layer.kernel[:, :, ::-1])


def unit_statistics(pixels: Preprocessing, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and standard deviation of each channel used by a preprocessing, for RGB pixels in [0, 1].

    >>> unit_statistics(Preprocessing(channels="BGR", mean=(51.0, 102.0, 255.0), std=(255.0,)), 1)
    ((0.533...,), (1.0,))
    """
    order = -1 if pixels.channels == "BGR" else 1
    mean, std = (
        tuple(float(value) for value in adapt_statistics(np.resize(values, RGB)[::order], channels))
        for values in (pixels.unit_mean, pixels.unit_std)
    )
    return mean, std
