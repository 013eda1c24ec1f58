"""Numbers learnt on RGB for an encoder that reads another number of channels.

The rules are those of timm and segmentation_models.pytorch, so that features keep the scale that later layers expect.
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
    """A weight that depends on the image's channels in a way no rule here covers."""

    text = (
        "{network}: {weight} has shape {found} for RGB images and {expected} here. Only the kernel of a convolution "
        "and the statistics of a normalisation that read the image itself can be adapted."
    )


def adapt_kernel(kernel: Array, channels: int) -> Array:
    """The kernel (h, w, 3, filters) of a convolution on RGB as one on ``channels``: (h, w, channels, filters).

    One channel gets the sum, so that a grey image answers as it does repeated three times. More take the three in
    turn, scaled by 3 / ``channels``, so that the sum over channels keeps its size.

    >>> adapt_kernel(np.array([1.0, 2.0, 4.0]).reshape(1, 1, 3, 1), 1).ravel()
    array([7.])
    >>> adapt_kernel(np.array([1.0, 2.0, 4.0]).reshape(1, 1, 3, 1), 4).ravel()
    array([0.75, 1.5 , 3.  , 0.75])
    """
    if channels == 1:
        return kernel.sum(axis=-2, keepdims=True)
    return kernel[..., np.arange(channels) % RGB, :] * (RGB / channels)


def adapt_statistics(values: Array, channels: int) -> Array:
    """One number for each of R, G and B, as a normalisation of the image has, for ``channels``: (channels,).

    One channel gets the mean; more take the three in turn. Nothing is scaled: these describe the values of a channel,
    which stay what they were, and no sum over channels. The kernel behind them takes care of that.

    >>> adapt_statistics(np.array([1.0, 2.0, 6.0]), 1), adapt_statistics(np.array([1.0, 2.0, 6.0]), 4)
    (array([3.]), array([1., 2., 6., 1.]))
    """
    if channels == 1:
        return values.mean(keepdims=True)
    return values[np.arange(channels) % RGB]


# By kind of layer. A depthwise convolution has none: with the image's channels it changes how many it gives.
RULES: Final[Mapping[type[keras.Layer], Callable[[Array, int], Array]]] = {
    layers.Conv2D: adapt_kernel,
    layers.BatchNormalization: adapt_statistics,
}


def image_channels(network: keras.Model) -> int:
    """Channels of the images that ``network`` reads."""
    channels: int = network.inputs[0].shape[-1]
    return channels


def rgb_twin(network: keras.Model) -> keras.Model:
    """The graph of ``network``, built anew for three channels, with numbers of its own."""
    image = network.inputs[0]
    source = keras.Input((*image.shape[1:-1], RGB), dtype=image.dtype)
    return keras.models.clone_model(network, input_tensors=source, clone_function=_unbuilt)


def _unbuilt(layer: keras.Layer) -> keras.Layer:
    if isinstance(layer, keras.Sequential):  # its config would remember the channels; ConvNeXt's stem is one
        return keras.Sequential([_unbuilt(inner) for inner in layer.layers], name=layer.name)
    return type(layer).from_config(layer.get_config())


def copy_adapted(source: keras.Model, target: keras.Model) -> None:
    """Give ``target`` the numbers of ``source``, the same graph for three channels.

    The weights that read the image are those whose shapes differ; they are adapted, the others are copied.

    Raises:
        UnadaptableWeights: a shape differs otherwise than by the image's channels; ``target`` is as it was.
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
    # A kernel's axis of inputs is its last but one; statistics have one axis only.
    if theirs.shape != ours.shape and type(layer) in RULES and array.shape[-2:][0] == RGB:
        array = RULES[type(layer)](array, channels)
    if array.shape != tuple(ours.shape):
        raise UnadaptableWeights(network=network, weight=ours.path, found=theirs.shape, expected=ours.shape)
    return array


def reverse_image_channels(network: keras.Model) -> None:
    """Turn a network that reads BGR into one that reads RGB, or back: the kernels on the image are turned round.

    Raises:
        UnadaptableWeights: what reads the image is no convolution of three channels.
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
    """Mean and deviation of each channel in [0, 1], red first, that ``pixels`` takes from images of ``channels``.

    >>> unit_statistics(Preprocessing(channels="BGR", mean=(51.0, 102.0, 255.0), std=(255.0,)), 1)
    ((0.533...,), (1.0,))
    """
    order = -1 if pixels.channels == "BGR" else 1
    mean, std = (
        tuple(float(value) for value in adapt_statistics(np.resize(values, RGB)[::order], channels))
        for values in (pixels.unit_mean, pixels.unit_std)
    )
    return mean, std
