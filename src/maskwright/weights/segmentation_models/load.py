"""Load the weights of a Keras 2 file into a network if all layers match; otherwise, nothing is changed."""

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
from maskwright.weights.segmentation_models.names import current_name, parse_auto_name, rename_layers

MAX_LISTED_LAYERS: Final = 5  # maximum number of layers named in one error message
AUTO_NAMED_TYPES: Final[Mapping[str, type[keras.Layer]]] = {  # prefix of an automatic name -> type of the layer
    "batch_normalization": layers.BatchNormalization,
    "conv2d": layers.Conv2D,
    "conv2d_transpose": layers.Conv2DTranspose,
    "dense": layers.Dense,
    "depthwise_conv2d": layers.DepthwiseConv2D,
}

Signature = tuple[str, frozenset[tuple[str, tuple[int, ...]]]]  # prefix of the name, and shapes of the weights


class LayerMismatch(InputError):
    """A layer whose weights have other shapes in the file than in the network."""

    text = "{file}: layer {layer} has {found}; the network {network} expects {expected}."


class DifferentLayers(InputError):
    """Layers that exist only in the file or only in the network."""

    text = "{file}: does not fit the network {network}. Only in the file: {found}. Only in the network: {expected}."


def load_legacy_weights(network: keras.Model, file: LegacyPath, *, argument: str = "file") -> None:
    """Load a Keras 2 ``.h5`` file of the same network into ``network``.

    Layers are matched by name. Layers that Keras named automatically (``conv2d_12``) are matched in the order of their
    creation, each with the next layer of ``network`` that has the same type and shapes. Consecutive layers that are the
    slices of a grouped convolution are concatenated. An optimizer state is not read. If an error is raised, ``network``
    is unchanged.

    Args:
        network: Network with the same layers as the saved network.
        file: Path of a file with weights only or with a whole model.
        argument: Name of the argument ``file`` in error messages.

    Raises:
        NotLegacyFile, DamagedLegacyFile, UnsafeLegacyFile, NestedNetwork: The file cannot be read.
        LayerMismatch: The shapes of the weights of a layer differ.
        DuplicateLayerName: Two layers of the file have the same name in this package.
        DifferentLayers: Some layers exist only in the file or only in the network.

    >>> load_legacy_weights(keras.Sequential(), "missing.h5")
    Traceback (most recent call last):
    maskwright.weights.segmentation_models.file.NotLegacyFile: file='missing.h5': the file does not exist; ...
    """
    load_layers(network, read_legacy(file, argument=argument))


def load_layers(network: keras.Model, legacy: LegacyFile) -> None:
    """Load ``legacy``, the content of a file, into ``network`` as described in `load_legacy_weights`."""
    for variable, array in list(_assignments(network, legacy)):  # the list is computed before the first assignment
        variable.assign(array)


def layers_in_creation_order(network: keras.Model) -> list[keras.Layer]:
    """Return the layers of ``network`` that have weights, branch by branch.

    The layers of each branch are in order from its input to its output.

    Branches are in the order in which they are inputs of the layer that merges them. Keras sorts layers by their
    distance from the output, which mixes parallel branches. Among layers of equal shapes, the order returned here
    equals the order of creation.
    """
    sources = {
        id(tensor): operation for operation in network.operations for tensor in keras.tree.flatten(operation.output)
    }
    order: dict[keras.Operation, None] = {}

    def visit(tensor: keras.KerasTensor) -> None:
        operation = sources[id(tensor)]
        if operation not in order:
            for source in [] if isinstance(operation, layers.InputLayer) else keras.tree.flatten(operation.input):
                visit(source)
            order[operation] = None

    for tensor in network.outputs:
        visit(tensor)
    return [operation for operation in order if isinstance(operation, keras.Layer) and operation.weights]


def match_auto_named_layers(network: keras.Model, legacy: LegacyFile) -> dict[str, tuple[str, ...]]:
    """Return the names of the automatically named layers in the file, by the name of the matching layer of ``network``.

    If several layers match one layer of ``network``, they are the slices of a grouped convolution. Layers of
    ``network`` without a match are omitted.
    """
    named = {current_name(name) for name in legacy.layers if not parse_auto_name(name)}
    auto_named = _AutoNamedLayers(
        {name: shapes_of(arrays) for name, arrays in legacy.layers.items() if parse_auto_name(name)}
    )
    matches = {
        layer.name: auto_named.pop_match(layer)
        for layer in layers_in_creation_order(network)
        if layer.name not in named
    }
    return {layer: names for layer, names in matches.items() if names}


def _assignments(network: keras.Model, legacy: LegacyFile) -> Iterator[tuple[keras.Variable, NDArray[np.generic]]]:
    named = {name: arrays for name, arrays in legacy.layers.items() if not parse_auto_name(name)}
    stored: dict[str, Arrays] = rename_layers(named, file=legacy.path)
    matches = match_auto_named_layers(network, legacy)
    for layer, names in matches.items():
        slices = [legacy.layers[name] for name in names]
        stored[layer] = {weight: np.concatenate([part[weight] for part in slices], axis=-1) for weight in slices[0]}
    missing = {}
    for layer in layers_in_creation_order(network):
        expected = _shapes(layer)
        arrays = stored.pop(layer.name, None)
        if arrays is None:
            missing[layer.name] = expected
        elif (found := shapes_of(arrays)) == expected:
            yield from ((variable, arrays[variable.name]) for variable in layer.weights)
        else:
            raise LayerMismatch(
                file=legacy.path,
                layer=layer.name,
                network=network.name,
                found=_format_shapes(found),
                expected=_format_shapes(expected),
            )
    unmatched = legacy.layers.keys() - named.keys() - {name for names in matches.values() for name in names}
    unexpected = {name: shapes_of(arrays) for name, arrays in stored.items()}
    unexpected |= {
        name: shapes_of(legacy.layers[name]) for name in sorted(unmatched, key=lambda name: parse_auto_name(name) or ())
    }
    if missing or unexpected:
        raise DifferentLayers(
            file=legacy.path,
            network=network.name,
            found=_format_layers(unexpected),
            expected=_format_layers(missing),
        )


def _shapes(layer: keras.Layer) -> dict[str, tuple[int, ...]]:
    return {variable.name: tuple(variable.shape) for variable in layer.weights}


def _format_shapes(shapes: Shapes) -> str:
    return ", ".join(f"{name} ({', '.join(map(str, shape))})" for name, shape in shapes.items())


def _format_layers(shapes_by_layer: Mapping[str, Shapes]) -> str:
    listed = "; ".join(
        f"{name} with {_format_shapes(shapes)}" for name, shapes in islice(shapes_by_layer.items(), MAX_LISTED_LAYERS)
    )
    more = len(shapes_by_layer) - MAX_LISTED_LAYERS
    return (listed or "nothing") + (f"; and {more} more" if more > 0 else "")


class _AutoNamedLayers:
    """Queues of the automatically named layers of a file, one for each signature, in the order of creation."""

    def __init__(self, shapes_by_layer: Mapping[str, Shapes]) -> None:
        self._queues: defaultdict[Signature, deque[str]] = defaultdict(deque)
        for (prefix, _), name in sorted((parse_auto_name(name) or ("", 0), name) for name in shapes_by_layer):
            self._queues[prefix, frozenset(shapes_by_layer[name].items())].append(name)

    def pop_match(self, layer: keras.Layer) -> tuple[str, ...]:
        """Remove and return the next layer that matches ``layer``, or all slices if it is a grouped convolution.

        The result is empty if there are too few matching layers.
        """
        groups = getattr(layer, "groups", 1)
        shapes = frozenset((name, (*shape[:-1], shape[-1] // groups)) for name, shape in _shapes(layer).items())
        prefix = next((prefix for prefix, kind in AUTO_NAMED_TYPES.items() if isinstance(layer, kind)), "")
        queue = self._queues[prefix, shapes]
        return tuple(queue.popleft() for _ in range(groups)) if len(queue) >= groups else ()
