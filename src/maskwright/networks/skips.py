"""Skip connections: which layers of an encoder a decoder joins, by name, by index, or found by stride."""

from collections import defaultdict
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final

import keras
import numpy as np
from keras import layers

from maskwright.errors import wrong_argument
from maskwright.networks.argument_checks import MAP, is_map
from maskwright.networks.encoder_ends import ends

Skip = str | int

ANY_SIDE: Final = 256  # pixels a side that a network leaves open is taken to have: halves eight times
# A nested model's layers belong to a graph of their own; images are no features; a padded map is of no whole stride.
NOT_JOINED: Final = (keras.Model, layers.InputLayer, layers.ZeroPadding2D)
ACTIVATIONS: Final = (layers.ReLU, layers.LeakyReLU, layers.PReLU, layers.ELU)  # these have no `activation`


def skip_tensors(backbone: keras.Model, skips: Sequence[Skip], *, argument: str, most: int) -> list[keras.KerasTensor]:
    """Outputs of the layers named by ``skips``, each a layer's name or its index in ``backbone.layers``.

    Args:
        backbone: The encoder whose layers are tapped.
        skips: Layers from deep to shallow.
        argument: What the user calls ``skips``, for the error.
        most: Decoder blocks there are to take a skip.

    Raises:
        WrongArgument: no layer has this name (the nearest is suggested) or index, something else where a list
            belongs, more skips than blocks, or a layer that gives no map.
    """
    if isinstance(skips, str) or not isinstance(skips, Sequence):
        raise wrong_argument(argument, skips, expected="a list of layer names or indices, from deep to shallow")
    if len(skips) > most:
        raise wrong_argument(argument, list(skips), expected=f"at most {most} layers, one a decoder block")
    return [_output(backbone, skip, argument=argument) for skip in skips]


def _output(backbone: keras.Model, skip: Skip, *, argument: str) -> keras.KerasTensor:
    by_name = {layer.name: layer for layer in backbone.layers}
    by_key = by_name | dict(enumerate(backbone.layers))
    if not isinstance(skip, str | int | np.integer) or skip not in by_key:
        near = get_close_matches(str(skip), by_name, n=1)
        expected = f"the name of a layer of {backbone.name}, or an index from 0 to {len(by_name) - 1}"
        raise wrong_argument(argument, skip, expected=expected, hint=f"Did you mean {near[0]!r}?" if near else "")
    output = by_key[skip].output
    if not is_map(output):
        raise wrong_argument(argument, skip, expected=f"a layer whose output is a map {MAP}")
    return output


def skips_by_stride(model: keras.Model) -> tuple[str, ...]:
    """Names of the layers a decoder would join, deep to shallow: the last activation before each halving of the map.

    An activation is a ReLU or another activation layer, or a layer with an activation of its own, such as a VGG's
    convolutions. "Last" is by the order of ``model.layers``. A stride without an activation gives its last layer; the
    full resolution gives a skip only where it has an activation; layers inside a nested model cannot be joined.

    On the encoders of the reference library this finds the layers of its table, or ones of equal stride: in bottleneck
    ResNets the ReLU after the unit's first convolution (there, the one before it), in DenseNets the ReLU before the
    transition's convolution (there, the convolution), in Inceptions one inside the last block (there, its end).

    Args:
        model: A functional or built sequential model with one output, a map. Unknown sides are taken as 256 pixels;
            only shapes are computed.

    Raises:
        WrongArgument: ``model`` has another output, or between two of its maps the side shrinks by other than a half,
            so that a decoder which doubles would meet no map of its size.

    >>> from keras import Input, Sequential, layers
    >>> first, second = (layers.Conv2D(8, 3, strides=2, padding="same", activation="relu") for _ in range(2))
    >>> skips_by_stride(Sequential([Input((None, None, 3)), first, second])) == (first.name,)
    True
    """
    layers_at, end = _layers_by_stride(model)
    strides = sorted((stride for stride in layers_at if 1 < stride < end), reverse=True)
    halvings = [end >> step for step in range(1, len(strides) + 1)]
    if end.bit_count() != 1 or strides != halvings or (end != 2 and not strides):
        inner = [layer.name for layer in model.layers if isinstance(layer, keras.Model)]
        hint = f"Layers inside a nested model cannot be joined: give {inner[0]!r} itself." if inner else ""
        known = ", ".join(map(str, sorted(layers_at)))
        expected = f"an encoder whose map is halved step by step; its layers have the strides {known}"
        raise wrong_argument("backbone", model.name, expected=expected, hint=hint)
    activations = {stride: list(filter(_activates, found)) for stride, found in layers_at.items()}
    joined = [(activations[stride] or layers_at[stride])[-1] for stride in strides]
    return tuple(layer.name for layer in joined + activations.get(1, [])[-1:])


def skip_at(model: keras.Model, skips: Sequence[Skip], *, stride: int, argument: str) -> Skip:
    """The one of ``skips`` whose map has 1/``stride`` of the images' size.

    Raises:
        WrongArgument: there is none in the model that the user calls ``argument``.
    """
    maps = skip_tensors(model, skips, argument=argument, most=len(skips))
    found = {at: skip for skip, at in zip(skips, strides_of(model, maps), strict=True)}
    if stride not in found:
        expected = f"an encoder with a layer to join at 1/{stride} of the images' size"
        raise wrong_argument(argument, model.name, expected=expected)
    return found[stride]


def _layers_by_stride(model: keras.Model) -> tuple[dict[int, list[keras.Layer]], int]:
    """Layers of each stride in the order of the graph, and the stride of the output, 0 where sides do not divide."""
    _, features = ends(model)
    tapped = [
        layer for layer in model.layers if not isinstance(layer, NOT_JOINED) and is_map(getattr(layer, "output", None))
    ]
    strides = strides_of(model, [*(layer.output for layer in tapped), features])
    layers_at: defaultdict[int, list[keras.Layer]] = defaultdict(list)
    for layer, stride in zip(tapped, strides, strict=False):
        if stride:
            layers_at[stride].append(layer)
    return layers_at, strides[-1]


def strides_of(model: keras.Model, maps: Sequence[keras.KerasTensor]) -> list[int]:
    """How many times smaller than the images each of ``maps`` is, 0 where by no whole number; only shapes are used."""
    source, _ = ends(model)
    height, width = (side or ANY_SIDE for side in source.shape[1:3])
    image = keras.KerasTensor((1, height, width, source.shape[3]), dtype=source.dtype)
    probed = keras.Function(source, list(maps)).compute_output_spec(image)
    return [_stride((height, width), tensor.shape[1:3]) for tensor in probed]


def _stride(image: tuple[int, int], map_: tuple[int, int]) -> int:
    """How many times smaller a map is each way; 0 where the two sides differ in it or do not divide."""
    (rows, rest), (columns, other_rest) = (divmod(large, small) for large, small in zip(image, map_, strict=True))
    return rows if rows == columns and not rest and not other_rest else 0


def _activates(layer: keras.Layer) -> bool:
    function = getattr(layer, "activation", None)
    return isinstance(layer, ACTIVATIONS) or function not in (None, keras.activations.linear)
