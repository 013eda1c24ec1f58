"""Adapt a trained network to the input channels and the classes of new data: its graph, weights and normalisation."""

from collections.abc import Iterator
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

from maskwright.images.normalise import Normalisation
from maskwright.inference.bundle import Bundle
from maskwright.networks.auxiliary_outputs import mask_only
from maskwright.rewrite.graph import heads
from maskwright.training.match_classes import head_array
from maskwright.training.start_network import Start, UnsupportedNetwork
from maskwright.weights.input_channels import RGB, RULES, adapt_statistics

Array = NDArray[np.floating[Any]]

_ADAPTABLE_CHANNELS: Final = (1, RGB)


def network_from(start: Start, bundle: Bundle, *, precision: str = "float32") -> keras.Model:
    """Build the graph of a network with the input channels, the classes and the activation of ``bundle``.

    The weights are copied as described in `copy_weights`.

    Args:
        start: Network to copy.
        bundle: Bundle of the new network.
        precision: Precision of the computations in all layers before the head.

    Raises:
        UnsupportedNetwork: The graph or a weight cannot be adapted.
    """
    source, last = start.network, start.network.operations[-1]
    [head] = heads(source)
    after_head = _operations_after(source, head)

    def copy(layer: keras.Operation) -> keras.Operation:
        if isinstance(layer, keras.Sequential):
            return keras.Sequential([copy(inner) for inner in layer.layers], name=layer.name)
        config = layer.get_config()
        if isinstance(layer, keras.Layer) and "dtype" in config and layer.name not in after_head:
            config["dtype"] = precision
        if layer is head:
            config["filters"] = bundle.outputs
        if layer is last:
            config["activation"] = bundle.activation
        return type(layer).from_config(config)

    image = keras.Input((None, None, bundle.inputs), name=source.inputs[0].name)
    try:
        network = keras.models.clone_model(source, input_tensors=image, clone_function=copy)
    except (TypeError, ValueError) as error:
        found = f"a graph that cannot be built again ({' '.join(str(error).split())[:200]})"
        raise UnsupportedNetwork(file=start.file, found=found, expected="layers of Keras") from error
    copy_weights(start, network, bundle)
    return network


def copy_weights(start: Start, network: keras.Model, bundle: Bundle) -> None:
    """Copy the weights of ``start`` to ``network``, which predicts the classes of ``bundle``.

    Layers are paired by name, or in order if the names differ. The first layers are adapted to the number of image
    channels. The channels of the head are copied for the classes that both networks have, by name, and remain
    unchanged for all other classes. Auxiliary outputs also remain unchanged.

    Raises:
        UnsupportedNetwork: The input channels cannot be adapted, or the layers or the shapes of weights differ
            otherwise.
    """
    _check_input_channels(start, bundle)
    target = mask_only(network)
    [head] = heads(target)
    arrays: list[tuple[keras.Variable, Array]] = []
    for theirs, ours in _paired_layers(start, target):
        if len(theirs.weights) != len(ours.weights):
            found = f"{len(theirs.weights)} weights in the layer {theirs.name}"
            raise UnsupportedNetwork(file=start.file, found=found, expected=f"{len(ours.weights)} weights")
        for source, weight in zip(theirs.weights, ours.weights, strict=True):
            array: Array = keras.ops.convert_to_numpy(source.value)
            expected = tuple(weight.shape)
            if ours is head and array.shape[:-1] == expected[:-1]:
                array = head_array(array, keras.ops.convert_to_numpy(weight.value), start.bundle, bundle)
            elif array.shape != expected and type(ours) in RULES:
                array = _adapted_input(array, type(ours), bundle)
            if array.shape != expected:
                found = f"the shape {tuple(source.shape)} of {source.path}"
                raise UnsupportedNetwork(file=start.file, found=found, expected=f"{expected}")
            arrays.append((weight, array))
    for weight, array in arrays:
        weight.assign(array)


def adapted_normalisation(start: Start, bundle: Bundle) -> Normalisation:
    """Return the normalisation of ``start`` for the channels and the pixels of ``bundle``."""
    trained = start.normalisation or bundle.normalisation
    changes: dict[str, object] = {}
    for name in ("mean", "std"):
        values = getattr(trained, name)
        if len(values) != bundle.channels and len(values) in _ADAPTABLE_CHANNELS:
            values = tuple(map(float, adapt_statistics(np.resize(values, RGB), bundle.channels)))
        changes[name] = values
    # The range of floating-point pixels has no meaning for integers.
    if start.bundle is not None and any(kind.startswith("float") for kind in start.bundle.pixels):
        changes |= {"low": trained.low, "high": trained.high}
    return bundle.normalisation.model_copy(update=changes)


def _check_input_channels(start: Start, bundle: Bundle) -> None:
    """Check that a network has the input channels of ``bundle``, or can be adapted to them.

    Raises:
        UnsupportedNetwork: The number of input channels differs, and is not 1 or 3 or includes coordinate channels.
    """
    found = start.network.input_shape[-1]
    has_coordinates = bundle.coord_channels or (start.bundle is not None and start.bundle.coord_channels)
    if found != bundle.inputs and (has_coordinates or found not in _ADAPTABLE_CHANNELS):
        raise UnsupportedNetwork(
            file=start.file,
            found=f"{found} input channels",
            expected=f"{bundle.inputs}, as in the new data, or a network for gray or RGB images without coordinate "
            "channels, which is adapted",
        )


def _operations_after(network: keras.Model, head: keras.Operation) -> set[str]:
    """Return the names of ``head`` and of all operations that depend on it, which compute in float32."""
    names, tensors = {head.name}, {id(tensor) for tensor in keras.tree.flatten(head.output)}
    for operation in network.operations:
        for node in operation._inbound_nodes:
            if tensors & {id(tensor) for tensor in node.input_tensors}:
                names.add(operation.name)
                tensors |= {id(tensor) for tensor in node.output_tensors}
    return names


def _paired_layers(start: Start, target: keras.Model) -> list[tuple[keras.Layer, keras.Layer]]:
    theirs, ours = ([layer for layer in _leaves(network) if layer.weights] for network in (start.network, target))
    by_name = {layer.name: layer for layer in theirs}
    if by_name.keys() == {layer.name for layer in ours} and len(by_name) == len(ours):
        return [(by_name[layer.name], layer) for layer in ours]
    if len(theirs) != len(ours):
        found = f"{len(theirs)} layers with weights"
        raise UnsupportedNetwork(file=start.file, found=found, expected=f"{len(ours)} as in the recipe")
    return list(zip(theirs, ours, strict=True))  # Keras numbers layers without a name differently in each process


def _leaves(network: keras.Model) -> Iterator[keras.Layer]:
    for layer in network.layers:
        yield from _leaves(layer) if isinstance(layer, keras.Model) else [layer]


def _adapted_input(array: Array, layer: type[keras.Layer], bundle: Bundle) -> Array:
    """Return a weight of a first layer for another number of image channels, or unchanged if it cannot be adapted.

    One channel is treated as three equal channels, to which the rules for RGB images are applied.
    """
    is_kernel = array.ndim > 1
    axis = -2 if is_kernel else 0
    if array.shape[axis] == 1:
        array = np.repeat(array, RGB, axis=axis) / (RGB if is_kernel else 1)
    return RULES[layer](array, bundle.channels) if array.shape[axis] == RGB else array
