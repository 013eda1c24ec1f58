"""The graph of a functional network: who makes and who reads each tensor, and a copy with some layers replaced."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]
Step = Callable[..., Any]
"""What is done in place of a layer's call, given what the layer is called with."""


@dataclass(frozen=True)
class Call:
    """The one call of a layer: the tensors it reads, and whether it is told to behave as in training."""

    layer: keras.Layer
    inputs: tuple[keras.KerasTensor, ...]
    training: bool


class Graph:
    """The calls of a functional network, in its layers' order.

    `calls` leaves out the layers that are called more than once; what these read is known all the same.

    >>> image = keras.Input((8, 8, 3), name="image")
    >>> enlarged = keras.layers.UpSampling2D(2, name="up")(image)
    >>> graph = Graph(keras.Model(image, keras.layers.ReLU(name="relu")(enlarged)))
    >>> [call.layer.name for call in graph.calls], graph.source(enlarged).layer.name
    (['image', 'up', 'relu'], 'up')
    """

    def __init__(self, network: keras.Model) -> None:
        self.calls: list[Call] = []
        self._makers: dict[int, Call] = {}
        self._readers = Counter(id(tensor) for tensor in network.outputs)
        for operation in network.operations:
            nodes = operation._inbound_nodes  # what Keras tells publicly, it tells of layers called once
            self._readers.update(id(tensor) for node in nodes for tensor in node.input_tensors)
            if len(nodes) == 1:
                [node] = nodes
                call = Call(operation, tuple(node.input_tensors), training=bool(node.arguments.kwargs.get("training")))
                self.calls.append(call)
                self._makers |= {id(tensor): call for tensor in node.output_tensors}

    def source(self, tensor: keras.KerasTensor) -> Call | None:
        """The call that makes ``tensor``, if it is the layer's only one and one other call is all that reads it."""
        return self._makers.get(id(tensor)) if self._readers[id(tensor)] == 1 else None


def heads(network: keras.Model) -> list[keras.Operation]:
    """The layers that make the answers of ``network``: on the way to each output, the last with weights.

    >>> image = keras.Input((8, 8, 3))
    >>> maps = keras.layers.Conv2D(16, 3, name="body")(image)
    >>> network = keras.Model(image, keras.layers.ReLU()(keras.layers.Conv2D(2, 1, name="head")(maps)))
    >>> [layer.name for layer in heads(network)]
    ['head']
    """
    makers = {
        id(tensor): (operation, node.input_tensors)
        for operation in network.operations
        for node in operation._inbound_nodes
        for tensor in node.output_tensors
    }
    found: dict[int, keras.Operation] = {}
    ahead, seen = list(network.outputs), set[int]()
    while ahead:
        tensor = id(ahead.pop())
        if tensor in seen:
            continue
        seen.add(tensor)
        operation, read = makers[tensor]
        if isinstance(operation, keras.Layer) and operation.weights:
            found[id(operation)] = operation
        else:
            ahead += read
    return list(found.values())


def shapes_in(network: keras.Model, image: tuple[int, int, int]) -> dict[str, tuple[Shape, Shape]]:
    """The shape each layer of ``network`` reads (its first input's) and that it makes, of an image (h, w, c).

    For a network of images of any size; nothing is computed.

    >>> image = keras.Input((None, None, 3))
    >>> shapes_in(keras.Model(image, keras.layers.MaxPooling2D(name="pool")(image)), (64, 96, 3))["pool"]
    ((1, 64, 96, 3), (1, 32, 48, 3))
    """
    known: dict[int, Shape] = {id(tensor): (1, *image) for tensor in network.inputs}
    shapes: dict[str, tuple[Shape, Shape]] = {}
    for operation in network.operations:
        if isinstance(operation, keras.layers.InputLayer):
            continue
        for node in operation._inbound_nodes:
            if any(id(tensor) not in known for tensor in node.input_tensors):
                continue  # a call outside this network
            args, kwargs = keras.tree.map_structure(
                partial(_of_shape, known), (node.arguments.args, node.arguments.kwargs)
            )
            made = keras.tree.flatten(operation.compute_output_spec(*args, **kwargs))
            known |= {id(tensor): spec.shape for tensor, spec in zip(node.output_tensors, made, strict=True)}
            shapes[operation.name] = known[id(node.input_tensors[0])], made[0].shape
    return shapes


def _of_shape(known: Mapping[int, Shape], leaf: Any) -> Any:
    return keras.KerasTensor(known[id(leaf)], leaf.dtype) if isinstance(leaf, keras.KerasTensor) else leaf


def replaced(network: keras.Model, steps: Mapping[str, Step]) -> keras.Model:
    """A copy of ``network``, weights included, that takes ``steps`` in place of the layers they are named after.

    Without steps it is ``network`` itself.

    >>> image = keras.Input((8, 8, 3), name="image")
    >>> network = keras.Model(image, keras.layers.Dropout(0.5, name="drop")(keras.layers.ReLU(name="relu")(image)))
    >>> [layer.name for layer in replaced(network, {"drop": skip}).layers]
    ['image', 'relu']
    """
    if not steps:
        return network
    copies: dict[str, keras.Operation] = {}

    def call(operation: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        if operation.name in steps:
            return steps[operation.name](*args, **kwargs)
        if operation.name in copies:
            return copies[operation.name](*args, **kwargs)
        copies[operation.name] = copy = type(operation).from_config(operation.get_config())
        made = copy(*args, **kwargs)
        if isinstance(operation, keras.Layer):
            copy.set_weights(operation.get_weights())
        return made

    bare = keras.Model(network.input, network.output, name=network.name)  # else Keras compiles the copy as well
    return keras.models.clone_model(bare, clone_function=lambda operation: operation, call_function=call)


def skip(x: keras.KerasTensor, **_: Any) -> keras.KerasTensor:
    """The step of a layer that is no longer needed."""
    return x


def apply(layer: keras.Layer, x: keras.KerasTensor, weights: Sequence[NDArray[np.floating]]) -> keras.KerasTensor:
    """What a new ``layer`` makes of ``x`` by ``weights``."""
    y = layer(x)
    layer.set_weights(weights)
    return y


def again(
    layer: keras.Layer, weights: Sequence[NDArray[np.floating]], *, kind: type[Any] | None = None, **settings: Any
) -> Step:
    """The step of a layer that stays, with other ``weights`` and ``settings``, or as another ``kind`` of layer."""

    def step(x: keras.KerasTensor, **_: Any) -> keras.KerasTensor:
        return apply((kind or type(layer)).from_config(layer.get_config() | settings), x, weights)

    return step
