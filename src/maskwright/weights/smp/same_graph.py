"""Whether two networks compute the same of the same weights: their graphs compared, not their names or numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import keras

# Settings that change nothing of what is predicted from given weights.
FREE: Final = frozenset({"name", "trainable", "dtype", "momentum", "batch_shape", "seed", "activity_regularizer"})
FREE_ENDINGS: Final = ("_initializer", "_regularizer", "_constraint")
FOLDED: Final = {"BatchNormalization": "epsilon"}  # into the variance, by whoever copies the weights
SILENT: Final = frozenset({"Dropout", "SpatialDropout2D"})  # these act in training only


@dataclass(frozen=True)
class Node:
    """A layer in its graph; ``settings`` hold its inputs as places in the list of nodes."""

    name: str
    kind: str
    settings: Mapping[str, object]


@dataclass(frozen=True)
class Difference:
    """The first layer at which two graphs part, and what each has there."""

    layer: str
    found: str
    expected: str


def first_difference(network: keras.Model, twin: keras.Model) -> Difference | None:
    """Where ``network`` computes something else than ``twin``; None where it does not.

    Both are functional models. Names, sizes of images, precision, weights, dropout and the epsilon of batch
    normalisations are not compared.

    >>> def enlarging(size):
    ...     image = keras.Input((8, 8, 3))
    ...     return keras.Model(image, keras.layers.UpSampling2D(size, name="up")(image))
    >>> first_difference(enlarging(2), enlarging(2)) is None
    True
    >>> first_difference(enlarging(2), enlarging(4))
    Difference(layer='up', found='size=[2, 2]', expected='size=[4, 4]')
    """
    ours, theirs = _nodes(network), _nodes(twin)
    for node, other in zip(ours, theirs, strict=False):
        if node.kind != other.kind:
            return Difference(node.name, f"a {node.kind}", f"a {other.kind}")
        for key in sorted(node.settings.keys() | other.settings.keys()):
            found, expected = node.settings.get(key), other.settings.get(key)
            if found != expected:
                return Difference(node.name, f"{key}={found}", f"{key}={expected}")
    if len(ours) != len(theirs):
        return Difference(ours[-1].name, f"{len(ours)} layers", f"{len(theirs)} layers")
    return None


def _nodes(network: keras.Model) -> list[Node]:
    nodes: list[Node] = []
    places: dict[int, int] = {}  # a tensor's id -> the place of the layer it comes from
    for layer in network.operations:
        kind, is_source = type(layer).__name__, isinstance(layer, keras.layers.InputLayer)
        inputs = [] if is_source else [places[id(tensor)] for tensor in keras.tree.flatten(layer.input)]
        place = inputs[0] if kind in SILENT else len(nodes)
        places |= {id(tensor): place for tensor in keras.tree.flatten(layer.output)}
        if place == len(nodes):
            settings = {key: _plain(value) for key, value in layer.get_config().items() if not _is_free(key, kind)}
            nodes.append(Node(layer.name, kind, settings | {"inputs": inputs}))
    return nodes


def _is_free(setting: str, kind: str) -> bool:
    return setting in FREE or setting.endswith(FREE_ENDINGS) or setting == FOLDED.get(kind)


def _plain(value: object) -> object:
    """A setting as it is after saving and loading, where tuples are lists."""
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
