"""Whether the layers of a whole Keras 2 model are joined as those of the network built here.

Both graphs are cut at the layers that are known in both: by a name, or by the numbers one takes from the other. What
such a layer reads is then a small expression, layers without a counterpart applied to layers with one, and must be the
same here and there. Which slice of the channels each convolution of a group reads is not compared.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

import keras
from keras import layers

from maskwright.errors import InputError
from maskwright.networks.cell_pooling import ResizeLike
from maskwright.weights.segmentation_models.file import LegacyFile
from maskwright.weights.segmentation_models.fill import takers
from maskwright.weights.segmentation_models.identify import Description, UnknownNetwork
from maskwright.weights.segmentation_models.layers import Deed, deeds_here, deeds_there, pads_alike, shared_names
from maskwright.weights.segmentation_models.names import name_here

ANY_ORDER: Final = frozenset({"Add", "Multiply"})
DEEPEST_TOLD: Final = 3  # steps of an expression, in an error
IMAGE: Final = "the image"
OUTPUT: Final = "the output"
TOGETHER: Final = "together"  # what a layer known in both graphs reads of several

Source = int  # a tensor, by the number of the expression that computes it


class OtherConnections(InputError):
    """A whole model in which a layer reads something else than in the reference library's network."""

    text = (
        "{file}: {layer} reads {found}, where a {architecture} on {backbone} as segmentation_models 1.0.1 builds "
        "it has {expected}. Build the network yourself and pass it as network."
    )


def check_connections(network: keras.Model, description: Description, legacy: LegacyFile) -> None:
    """Refuse a model whose layers are those of ``network``, as `check_layers` says, but joined otherwise.

    Raises:
        OtherConnections: a layer, or the output, reads something else.
        UnknownNetwork: the file's description is not one that Keras wrote.
    """
    config = (legacy.config or {})["config"]
    shared = shared_names(network, config["layers"])
    names = {layer["config"]["name"]: name_here(layer["config"]["name"]) for layer in config["layers"]}
    known = {name: ours for name, ours in names.items() if ours in shared}
    known |= {name: layer for layer, numbered in takers(network, legacy).items() for name in numbered}

    expressions = _Expressions()
    expected = _read_here(network, description, set(known.values()), expressions)
    try:
        found = _read_there(config, known, expressions, padded=pads_alike(description))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise UnknownNetwork(file=description.file, found="its description is not one that Keras wrote") from error
    for layer, source in found.items():
        if source != (wanted := expected[known.get(layer, layer)]):
            where = {"file": description.file, "architecture": description.architecture, "layer": layer}
            words = {"found": expressions.words(source), "expected": expressions.words(wanted)}
            raise OtherConnections(**where, **words, backbone=description.backbone)


class _Expressions:
    """Expressions by number: equal ones have one, whichever graph they are of."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[Deed | str, tuple[Source, ...]], Source] = {}

    def number(self, what: Deed | str, sources: Sequence[Source] = ()) -> Source:
        """That of ``what``, a layer known in both graphs or a step, on ``sources``."""
        return self._numbers.setdefault((what, tuple(sources)), len(self._numbers))

    def after(self, deeds: Sequence[Deed], kind: str, sources: Sequence[Source]) -> Source:
        """That of ``sources`` after ``deeds``, the steps of a layer of this kind."""
        if kind == "Concatenate" and len(set(sources)) == 1:  # the slices of one group, joined again
            return sources[0]
        sources = sorted(sources) if kind in ANY_ORDER else sources
        for deed in deeds:
            sources = [self.number(deed, sources)]
        return sources[0] if len(sources) == 1 else self.number(TOGETHER, sources)

    def words(self, number: Source, depth: int = DEEPEST_TOLD) -> str:
        """The expression as a user reads it, what lies ``depth`` steps back left out."""
        what, sources = list(self._numbers)[number]
        if not sources:
            return str(what)
        inner = " and ".join(self.words(source, depth - 1) for source in sources) if depth else "..."
        return f"{what.kind} of ({inner})" if isinstance(what, Deed) else inner


def _told(deeds: Iterator[Deed], *, known: bool) -> list[Deed]:
    """The steps of a layer, without the Lambdas of there, for which other layers stand here.

    Of a layer that is ``known`` in both graphs only what comes after it, the activation within it.
    """
    told = [deed._replace(layer="") for deed in deeds if deed.kind != "Lambda"]
    return [deed for deed in told[1:] if deed.kind == "Activation"] if known else told


def _read_here(
    network: keras.Model, description: Description, known: Collection[str], expressions: _Expressions
) -> dict[str, Source]:
    """What each known layer of ``network`` reads."""
    made: dict[int, Source] = {}
    read: dict[str, Source] = {}
    for layer in network.layers:
        if isinstance(layer, layers.InputLayer):
            made[id(layer.output)] = expressions.number(IMAGE)
            continue
        tensors = keras.tree.flatten(layer.input)
        # There the size to resize to is a number, no second input.
        sources = [made[id(tensor)] for tensor in (tensors[:1] if isinstance(layer, ResizeLike) else tensors)]
        steps = _told(deeds_here("", layer, network, description), known=layer.name in known)
        if layer.name in known:
            read[layer.name] = expressions.after((), type(layer).__name__, sources)
            sources = [expressions.number(layer.name)]
        made[id(layer.output)] = expressions.after(steps, type(layer).__name__, sources)
    return read | {OUTPUT: made[id(network.outputs[0])]}


def _read_there(
    config: Mapping[str, Any], known: Mapping[str, str], expressions: _Expressions, *, padded: bool
) -> dict[str, Source]:
    """What each known layer of the file reads, by its name there; layers come after those they read."""
    made: dict[str, Source] = {}
    read: dict[str, Source] = {}
    for layer in config["layers"]:
        name, kind, settings = layer["config"]["name"], layer["class_name"], layer["config"]
        if kind == "InputLayer":
            made[name] = expressions.number(IMAGE)
            continue
        (node,) = layer["inbound_nodes"]
        sources = [made[tensor[0]] for tensor in node]
        steps = _told(deeds_there("", kind, settings, padded=padded), known=name in known)
        if name in known:
            read[name] = expressions.after((), kind, sources)
            sources = [expressions.number(known[name])]
        made[name] = expressions.after(steps, kind, sources)
    ((output, *_),) = config["output_layers"]
    return read | {OUTPUT: made[output]}
