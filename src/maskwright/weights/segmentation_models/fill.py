"""The numbers of a Keras 2 file into a network built here: all of them, or none."""

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from maskwright.errors import InputError
from maskwright.weights.segmentation_models.file import Arrays, LegacyFile, LegacyPath, Shapes, read_legacy, shapes_of
from maskwright.weights.segmentation_models.names import name_here, named_as_here, numbered

MOST_NAMES: Final = 5  # of layers, in an error
KINDS: Final[Mapping[str, type[keras.Layer]]] = {  # the layers Keras numbered, by what it called them
    "batch_normalization": layers.BatchNormalization,
    "conv2d": layers.Conv2D,
    "conv2d_transpose": layers.Conv2DTranspose,
    "dense": layers.Dense,
    "depthwise_conv2d": layers.DepthwiseConv2D,
}

Signature = tuple[str, frozenset[tuple[str, tuple[int, ...]]]]


class LayerMismatch(InputError):
    """A layer whose weights have other shapes in the file than in the network."""

    text = "{file}: layer {layer} holds {found}; the network {network} expects {expected}."


class DifferentLayers(InputError):
    """Layers that only the file has, or only the network."""

    text = "{file} does not fit the network {network}. Only in the file: {found}. Only in the network: {expected}."


def load_legacy_weights(network: keras.Model, file: LegacyPath, *, argument: str = "file") -> None:
    """Fill ``network`` from a Keras 2 ``.h5`` file of the same network.

    Layers are found by name. Those that nobody named (``conv2d_12``) are taken in the order in which they were
    created, each by the next layer here of its kind and shapes; a row of them that are the slices of one grouped
    convolution becomes its kernel. Optimizer state in the file is not read.

    Args:
        network: Built here, with the layers the file was written from.
        file: Path of the file, weights only or whole model.
        argument: What the user calls ``file``, for the errors.

    Raises:
        NotLegacyFile, DamagedLegacyFile, UnsafeLegacyFile, NestedNetwork: the file cannot be read.
        LayerMismatch: a layer's shapes differ.
        SameName: two layers in the file have one name here.
        DifferentLayers: the file holds layers the network lacks, or the network layers the file lacks.
            After any of these, the network is as it was.

    >>> load_legacy_weights(keras.Sequential(), "missing.h5")
    Traceback (most recent call last):
    maskwright.weights.segmentation_models.file.NotLegacyFile: file='missing.h5' is not there; ...
    """
    fill(network, read_legacy(file, argument=argument))


def fill(network: keras.Model, legacy: LegacyFile) -> None:
    """As `load_legacy_weights`, from a file that has been read."""
    for variable, array in list(_assignments(network, legacy)):  # the list is complete before the first is assigned
        variable.assign(array)


def layers_as_written(network: keras.Model) -> list[keras.Layer]:
    """The layers of ``network`` that have weights, one branch after the other, each from the image on.

    Where branches meet, they come in the order in which they are joined. Keras' own order, by distance from the
    output, mixes parallel branches; this one agrees with the order of creation for all layers of equal shapes.
    """
    sources = {
        id(tensor): operation for operation in network.operations for tensor in keras.tree.flatten(operation.output)
    }
    order: dict[keras.Operation, None] = {}

    def write_down(tensor: keras.KerasTensor) -> None:
        operation = sources[id(tensor)]
        if operation not in order:
            for before in [] if isinstance(operation, layers.InputLayer) else keras.tree.flatten(operation.input):
                write_down(before)
            order[operation] = None

    for tensor in network.outputs:
        write_down(tensor)
    return [operation for operation in order if isinstance(operation, keras.Layer) and operation.weights]


def takers(network: keras.Model, legacy: LegacyFile) -> dict[str, tuple[str, ...]]:
    """The layers that Keras numbered, by the name of the layer of ``network`` that takes their numbers.

    Several are the slices of one grouped convolution. Layers of ``network`` that find none are left out.
    """
    named = {name_here(name) for name in legacy.layers if not numbered(name)}
    unnamed = _Unnamed({name: shapes_of(arrays) for name, arrays in legacy.layers.items() if numbered(name)})
    found = {layer.name: unnamed.take(layer) for layer in layers_as_written(network) if layer.name not in named}
    return {layer: names for layer, names in found.items() if names}


def _assignments(network: keras.Model, legacy: LegacyFile) -> Iterator[tuple[keras.Variable, NDArray[np.generic]]]:
    by_name = {name: arrays for name, arrays in legacy.layers.items() if not numbered(name)}
    theirs: dict[str, Arrays] = named_as_here(by_name, file=legacy.path)
    taken = takers(network, legacy)
    for layer, names in taken.items():
        parts = [legacy.layers[name] for name in names]
        theirs[layer] = {weight: np.concatenate([part[weight] for part in parts], axis=-1) for weight in parts[0]}
    unfilled = {}
    for layer in layers_as_written(network):
        expected = _shapes(layer)
        arrays = theirs.pop(layer.name, None)
        if arrays is None:
            unfilled[layer.name] = expected
        elif (found := shapes_of(arrays)) == expected:
            yield from ((variable, arrays[variable.name]) for variable in layer.weights)
        else:
            raise LayerMismatch(
                file=legacy.path,
                layer=layer.name,
                network=network.name,
                found=_in_words(found),
                expected=_in_words(expected),
            )
    left = legacy.layers.keys() - by_name.keys() - {name for names in taken.values() for name in names}
    unused = {name: shapes_of(arrays) for name, arrays in theirs.items()}
    unused |= {name: shapes_of(legacy.layers[name]) for name in sorted(left, key=lambda name: numbered(name) or ())}
    if unfilled or unused:
        raise DifferentLayers(file=legacy.path, network=network.name, found=_few(unused), expected=_few(unfilled))


def _shapes(layer: keras.Layer) -> dict[str, tuple[int, ...]]:
    return {variable.name: tuple(variable.shape) for variable in layer.weights}


def _in_words(shapes: Shapes) -> str:
    return ", ".join(f"{name} ({', '.join(map(str, shape))})" for name, shape in shapes.items())


def _few(described: Mapping[str, Shapes]) -> str:
    shown = "; ".join(f"{name} with {_in_words(shapes)}" for name, shapes in islice(described.items(), MOST_NAMES))
    return (shown or "nothing") + (f"; and {len(described) - MOST_NAMES} more" if len(described) > MOST_NAMES else "")


class _Unnamed:
    """The layers Keras numbered, in the order of their creation, one queue for each kind and set of shapes."""

    def __init__(self, unnamed: Mapping[str, Shapes]) -> None:
        self._queues: defaultdict[Signature, deque[str]] = defaultdict(deque)
        for (kind, _), name in sorted((numbered(name) or ("", 0), name) for name in unnamed):
            self._queues[kind, frozenset(unnamed[name].items())].append(name)

    def take(self, layer: keras.Layer) -> tuple[str, ...]:
        """The next layer that is as ``layer``, or as many as make a grouped convolution; none if there are too few."""
        groups = getattr(layer, "groups", 1)
        part = frozenset((name, (*shape[:-1], shape[-1] // groups)) for name, shape in _shapes(layer).items())
        kind = next((name for name, kind in KINDS.items() if isinstance(layer, kind)), "")
        queue = self._queues[kind, part]
        return tuple(queue.popleft() for _ in range(groups)) if len(queue) >= groups else ()
