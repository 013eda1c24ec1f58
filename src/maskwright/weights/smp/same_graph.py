"""Compare the graphs of two networks to check that they compute the same function of the same weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import keras

# Settings that do not affect the predictions for given weights.
IGNORED_SETTINGS: Final = frozenset(
    {"name", "trainable", "dtype", "momentum", "batch_shape", "seed", "activity_regularizer"}
)
IGNORED_SUFFIXES: Final = ("_initializer", "_regularizer", "_constraint")
COMPENSATED_SETTINGS: Final = {"BatchNormalization": "epsilon"}  # compensated by the caller in the variance
TRAINING_ONLY: Final = frozenset({"Dropout", "SpatialDropout2D"})


@dataclass(frozen=True)
class Node:
    """A layer of a graph; its ``settings`` include its inputs, given as indices of nodes."""

    name: str
    kind: str
    settings: Mapping[str, object]


@dataclass(frozen=True)
class Difference:
    """First layer that differs between two graphs, with its settings in both graphs."""

    layer: str
    found: str
    expected: str


def first_difference(network: keras.Model, expected: keras.Model) -> Difference | None:
    """Return the first layer of ``network`` that computes another function than in ``expected``, or None.

    Both networks must be functional models. Names, image sizes, precision, weights, dropout and the epsilon of batch
    normalisation are not compared.

    >>> def upsampling(size):
    ...     image = keras.Input((8, 8, 3))
    ...     return keras.Model(image, keras.layers.UpSampling2D(size, name="up")(image))
    >>> first_difference(upsampling(2), upsampling(2)) is None
    True
    >>> first_difference(upsampling(2), upsampling(4))
    Difference(layer='up', found='size=[2, 2]', expected='size=[4, 4]')
    """
    nodes, expected_nodes = _nodes(network), _nodes(expected)
    for node, expected_node in zip(nodes, expected_nodes, strict=False):
        if node.kind != expected_node.kind:
            return Difference(node.name, f"a {node.kind}", f"a {expected_node.kind}")
        for key in sorted(node.settings.keys() | expected_node.settings.keys()):
            value, expected_value = node.settings.get(key), expected_node.settings.get(key)
            if value != expected_value:
                return Difference(node.name, f"{key}={value}", f"{key}={expected_value}")
    if len(nodes) != len(expected_nodes):
        return Difference(nodes[-1].name, f"{len(nodes)} layers", f"{len(expected_nodes)} layers")
    return None


def _nodes(network: keras.Model) -> list[Node]:
    nodes: list[Node] = []
    indices: dict[int, int] = {}  # id of a tensor -> index of the node that computes it
    for layer in network.operations:
        kind, is_source = type(layer).__name__, isinstance(layer, keras.layers.InputLayer)
        inputs = [] if is_source else [indices[id(tensor)] for tensor in keras.tree.flatten(layer.input)]
        index = inputs[0] if kind in TRAINING_ONLY else len(nodes)
        indices |= {id(tensor): index for tensor in keras.tree.flatten(layer.output)}
        if index == len(nodes):
            settings = {key: _plain(value) for key, value in layer.get_config().items() if not _is_ignored(key, kind)}
            nodes.append(Node(layer.name, kind, settings | {"inputs": inputs}))
    return nodes


def _is_ignored(setting: str, kind: str) -> bool:
    return (
        setting in IGNORED_SETTINGS or setting.endswith(IGNORED_SUFFIXES) or setting == COMPENSATED_SETTINGS.get(kind)
    )


def _plain(value: object) -> object:
    """Convert tuples to lists, as saving and loading do."""
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
