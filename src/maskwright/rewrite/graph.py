"""Producers and consumers of the tensors of a functional network, and copies of the network with replaced layers."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]
Replacement = Callable[..., Any]
"""Function that is called instead of a layer, with the arguments of the layer."""


@dataclass(frozen=True)
class LayerCall:
    """The only call of a layer, with its input tensors and whether it is called with ``training=True``."""

    layer: keras.Layer
    inputs: tuple[keras.KerasTensor, ...]
    training: bool


class Graph:
    """Layer calls of a functional network, in the order of its layers.

    Layers that are called more than once are not in `calls` but still count as consumers of their inputs.

    >>> image = keras.Input((8, 8, 3), name="image")
    >>> upsampled = keras.layers.UpSampling2D(2, name="up")(image)
    >>> graph = Graph(keras.Model(image, keras.layers.ReLU(name="relu")(upsampled)))
    >>> [call.layer.name for call in graph.calls], graph.exclusive_producer(upsampled).layer.name
    (['image', 'up', 'relu'], 'up')
    """

    def __init__(self, network: keras.Model) -> None:
        self.calls: list[LayerCall] = []
        self._producers: dict[int, LayerCall] = {}
        self._consumer_counts = Counter(id(tensor) for tensor in network.outputs)
        for operation in network.operations:
            nodes = operation._inbound_nodes  # the public properties cover only layers that are called once
            self._consumer_counts.update(id(tensor) for node in nodes for tensor in node.input_tensors)
            if len(nodes) == 1:
                [node] = nodes
                training = bool(node.arguments.kwargs.get("training"))
                call = LayerCall(operation, tuple(node.input_tensors), training=training)
                self.calls.append(call)
                self._producers |= {id(tensor): call for tensor in node.output_tensors}

    def exclusive_producer(self, tensor: keras.KerasTensor) -> LayerCall | None:
        """Return the call that produces ``tensor`` if its layer has one call and the tensor one consumer, else None."""
        return self._producers.get(id(tensor)) if self._consumer_counts[id(tensor)] == 1 else None


def heads(network: keras.Model) -> list[keras.Operation]:
    """Return the last layer that has weights on each path to an output of ``network``.

    >>> image = keras.Input((8, 8, 3))
    >>> features = keras.layers.Conv2D(16, 3, name="body")(image)
    >>> network = keras.Model(image, keras.layers.ReLU()(keras.layers.Conv2D(2, 1, name="head")(features)))
    >>> [layer.name for layer in heads(network)]
    ['head']
    """
    producers = {
        id(tensor): (operation, node.input_tensors)
        for operation in network.operations
        for node in operation._inbound_nodes
        for tensor in node.output_tensors
    }
    found: dict[int, keras.Operation] = {}
    pending, visited = list(network.outputs), set[int]()
    while pending:
        tensor = id(pending.pop())
        if tensor in visited:
            continue
        visited.add(tensor)
        operation, inputs = producers[tensor]
        if isinstance(operation, keras.Layer) and operation.weights:
            found[id(operation)] = operation
        else:
            pending += inputs
    return list(found.values())


def layer_shapes(network: keras.Model, image: tuple[int, int, int]) -> dict[str, tuple[Shape, Shape]]:
    """Return the shapes of the first input and the first output of each layer for an image (h, w, c).

    The input size of the network may be variable. Only shapes are computed.

    >>> image = keras.Input((None, None, 3))
    >>> layer_shapes(keras.Model(image, keras.layers.MaxPooling2D(name="pool")(image)), (64, 96, 3))["pool"]
    ((1, 64, 96, 3), (1, 32, 48, 3))
    """
    tensor_shapes: dict[int, Shape] = {id(tensor): (1, *image) for tensor in network.inputs}
    shapes: dict[str, tuple[Shape, Shape]] = {}
    for operation in network.operations:
        if isinstance(operation, keras.layers.InputLayer):
            continue
        for node in operation._inbound_nodes:
            if any(id(tensor) not in tensor_shapes for tensor in node.input_tensors):
                continue  # this call is outside the network
            args, kwargs = keras.tree.map_structure(
                partial(_with_static_shape, tensor_shapes), (node.arguments.args, node.arguments.kwargs)
            )
            specs = keras.tree.flatten(operation.compute_output_spec(*args, **kwargs))
            tensor_shapes |= {id(tensor): spec.shape for tensor, spec in zip(node.output_tensors, specs, strict=True)}
            shapes[operation.name] = tensor_shapes[id(node.input_tensors[0])], specs[0].shape
    return shapes


def _with_static_shape(tensor_shapes: Mapping[int, Shape], leaf: Any) -> Any:
    return keras.KerasTensor(tensor_shapes[id(leaf)], leaf.dtype) if isinstance(leaf, keras.KerasTensor) else leaf


def replace_layers(network: keras.Model, replacements: Mapping[str, Replacement]) -> keras.Model:
    """Copy ``network``, including its weights, with some layers replaced according to ``replacements``, by layer name.

    Without replacements, ``network`` itself is returned.

    >>> image = keras.Input((8, 8, 3), name="image")
    >>> network = keras.Model(image, keras.layers.Dropout(0.5, name="drop")(keras.layers.ReLU(name="relu")(image)))
    >>> [layer.name for layer in replace_layers(network, {"drop": remove_layer}).layers]
    ['image', 'relu']
    """
    if not replacements:
        return network
    copies: dict[str, keras.Operation] = {}

    def call(operation: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        if operation.name in replacements:
            return replacements[operation.name](*args, **kwargs)
        if operation.name in copies:
            return copies[operation.name](*args, **kwargs)
        copies[operation.name] = copy = type(operation).from_config(operation.get_config())
        outputs = copy(*args, **kwargs)
        if isinstance(operation, keras.Layer):
            copy.set_weights(operation.get_weights())
        return outputs

    # clone_model also compiles the copy of a compiled model, so an uncompiled model is passed to it.
    uncompiled = keras.Model(network.input, network.output, name=network.name)
    return keras.models.clone_model(uncompiled, clone_function=lambda operation: operation, call_function=call)


def remove_layer(x: keras.KerasTensor, **_: Any) -> keras.KerasTensor:
    """Return the input of the layer, as a replacement that removes the layer."""
    return x


def call_with_weights(
    layer: keras.Layer, x: keras.KerasTensor, weights: Sequence[NDArray[np.floating]]
) -> keras.KerasTensor:
    """Call a new ``layer`` on ``x``, set its weights and return its output."""
    y = layer(x)
    layer.set_weights(weights)
    return y


def rebuild_layer(
    layer: keras.Layer,
    weights: Sequence[NDArray[np.floating]],
    *,
    layer_class: type[Any] | None = None,
    **settings: Any,
) -> Replacement:
    """Return a replacement of a layer by one with other weights and settings.

    Args:
        layer: Layer whose configuration is copied.
        weights: Weights of the new layer, in the order of Keras.
        layer_class: Class of the new layer; by default, the class of ``layer``.
        **settings: Entries of the configuration to change.
    """

    def replacement(x: keras.KerasTensor, **_: Any) -> keras.KerasTensor:
        new_layer = (layer_class or type(layer)).from_config(layer.get_config() | settings)
        return call_with_weights(new_layer, x, weights)

    return replacement
