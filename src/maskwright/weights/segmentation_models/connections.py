"""Check that the layers of a whole Keras 2 model are connected in the same way as those of the rebuilt network.

Both graphs are split at the layers that occur in both, matched by name or by their weights. The input of such a layer
is described by an expression, in which layers without a counterpart are applied to layers with one. The expression must
be the same in both graphs. The channel slices used by the convolutions of a group are not compared.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

import keras
from keras import layers

from maskwright.errors import InputError
from maskwright.networks.cell_pooling import ResizeLike
from maskwright.weights.segmentation_models.file import LegacyFile
from maskwright.weights.segmentation_models.identify import Description, UnknownNetwork
from maskwright.weights.segmentation_models.layers import (
    Operation,
    file_operations,
    has_equal_padding_layers,
    network_operations,
    shared_names,
)
from maskwright.weights.segmentation_models.load import match_auto_named_layers
from maskwright.weights.segmentation_models.names import current_name

COMMUTATIVE: Final = frozenset({"Add", "Multiply"})
MAX_PRINTED_DEPTH: Final = 3  # maximum number of nested operations of an expression in an error message
IMAGE: Final = "the image"
OUTPUT: Final = "the output"
SEVERAL_INPUTS: Final = "several inputs"  # first part of the expression for a layer with several inputs

Expression = int  # index in the table of expressions


class DifferentConnections(InputError):
    """A whole model with a layer whose inputs differ from those in segmentation_models."""

    text = (
        "{file}: {layer} is connected to {found}; expected {expected} as in the {architecture} on {backbone} of "
        "segmentation_models 1.0.1. Build the network yourself and pass it as network."
    )


def check_connections(network: keras.Model, description: Description, legacy: LegacyFile) -> None:
    """Check that the layers of a whole model are connected in the same way as those of ``network``.

    The layers themselves must already have been checked by `check_layers`.

    Raises:
        DifferentConnections: The input of a layer, or the output of the model, differs.
        UnknownNetwork: The configuration of the file does not have the format of Keras.
    """
    config = (legacy.config or {})["config"]
    shared = shared_names(network, config["layers"])
    current_names = {layer["config"]["name"]: current_name(layer["config"]["name"]) for layer in config["layers"]}
    counterparts = {name: current for name, current in current_names.items() if current in shared}
    matches = match_auto_named_layers(network, legacy)
    counterparts |= {name: layer for layer, names in matches.items() for name in names}

    table = _ExpressionTable()
    expected = _inputs_in_network(network, description, set(counterparts.values()), table)
    try:
        compare_padding = has_equal_padding_layers(description)
        found = _inputs_in_file(config, counterparts, table, compare_padding=compare_padding)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise UnknownNetwork(file=description.file, found="model_config was not written by Keras") from error
    for layer, expression in found.items():
        expected_expression = expected[counterparts.get(layer, layer)]
        if expression != expected_expression:
            raise DifferentConnections(
                file=description.file,
                layer=layer,
                found=table.describe(expression),
                expected=table.describe(expected_expression),
                architecture=description.architecture,
                backbone=description.backbone,
            )


class _ExpressionTable:
    """Table of the expressions in both graphs, in which equal expressions have the same index."""

    def __init__(self) -> None:
        self._indices: dict[tuple[Operation | str, tuple[Expression, ...]], Expression] = {}

    def index(self, head: Operation | str, inputs: Sequence[Expression] = ()) -> Expression:
        """Return the index of ``head``, an operation or the name of a layer in both graphs, applied to ``inputs``."""
        return self._indices.setdefault((head, tuple(inputs)), len(self._indices))

    def apply(self, operations: Sequence[Operation], kind: str, inputs: Sequence[Expression]) -> Expression:
        """Return the index of the ``operations`` of a layer of class ``kind``, applied in turn to ``inputs``."""
        if kind == "Concatenate" and len(set(inputs)) == 1:  # these inputs are the slices of one group
            return inputs[0]
        inputs = sorted(inputs) if kind in COMMUTATIVE else inputs
        for operation in operations:
            inputs = [self.index(operation, inputs)]
        return inputs[0] if len(inputs) == 1 else self.index(SEVERAL_INPUTS, inputs)

    def describe(self, expression: Expression, depth: int = MAX_PRINTED_DEPTH) -> str:
        """Format an expression for an error message, showing at most ``depth`` nested operations."""
        head, inputs = list(self._indices)[expression]
        if not inputs:
            return str(head)
        nested = " and ".join(self.describe(source, depth - 1) for source in inputs) if depth else "..."
        return f"{head.kind}({nested})" if isinstance(head, Operation) else nested


def _compared(operations: Iterator[Operation], *, is_shared: bool) -> list[Operation]:
    """Return the operations to compare, without the names of layers and without Lambda layers.

    Lambda layers are omitted because rebuilt networks do not contain them.

    A layer that is in both graphs is represented by its name, so only its activation is returned.
    """
    anonymous = [operation._replace(layer="") for operation in operations if operation.kind != "Lambda"]
    return [operation for operation in anonymous[1:] if operation.kind == "Activation"] if is_shared else anonymous


def _inputs_in_network(
    network: keras.Model, description: Description, shared: Collection[str], table: _ExpressionTable
) -> dict[str, Expression]:
    """Return the input of each layer of ``network`` in ``shared``, and of the output, by name."""
    outputs: dict[int, Expression] = {}  # expressions by tensor id
    inputs_by_layer: dict[str, Expression] = {}
    for layer in network.layers:
        kind = type(layer).__name__
        if isinstance(layer, layers.InputLayer):
            outputs[id(layer.output)] = table.index(IMAGE)
            continue
        tensors = keras.tree.flatten(layer.input)
        # In a file, the target size of a resizing layer is a setting, not a second input.
        inputs = [outputs[id(tensor)] for tensor in (tensors[:1] if isinstance(layer, ResizeLike) else tensors)]
        is_shared = layer.name in shared
        operations = _compared(network_operations("", layer, network, description), is_shared=is_shared)
        if is_shared:
            inputs_by_layer[layer.name] = table.apply((), kind, inputs)
            inputs = [table.index(layer.name)]
        outputs[id(layer.output)] = table.apply(operations, kind, inputs)
    return inputs_by_layer | {OUTPUT: outputs[id(network.outputs[0])]}


def _inputs_in_file(
    config: Mapping[str, Any], counterparts: Mapping[str, str], table: _ExpressionTable, *, compare_padding: bool
) -> dict[str, Expression]:
    """Return the input of each layer in the file that has a counterpart, and of the output, by name in the file.

    In ``config``, every layer follows the layers whose outputs are its inputs.
    """
    outputs: dict[str, Expression] = {}
    inputs_by_layer: dict[str, Expression] = {}
    for layer in config["layers"]:
        name, kind, settings = layer["config"]["name"], layer["class_name"], layer["config"]
        if kind == "InputLayer":
            outputs[name] = table.index(IMAGE)
            continue
        (node,) = layer["inbound_nodes"]
        inputs = [outputs[tensor[0]] for tensor in node]
        is_shared = name in counterparts
        operations = _compared(
            file_operations("", kind, settings, compare_padding=compare_padding), is_shared=is_shared
        )
        if is_shared:
            inputs_by_layer[name] = table.apply((), kind, inputs)
            inputs = [table.index(counterparts[name])]
        outputs[name] = table.apply(operations, kind, inputs)
    ((output, *_),) = config["output_layers"]
    return inputs_by_layer | {OUTPUT: outputs[output]}
