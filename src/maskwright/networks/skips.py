"""Encoder layers of the skip connections, given by name or index, or found by their stride."""

from collections import defaultdict
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final

import keras
import numpy as np
from keras import layers

from maskwright.errors import wrong_argument
from maskwright.networks.argument_checks import FEATURE_MAP_SHAPE, is_feature_map
from maskwright.networks.encoder_tensors import input_and_features

Skip = str | int

ASSUMED_SIDE: Final = 256  # pixels assumed for a side of variable size, which can be halved eight times
# Layers that cannot be skip connections: those of a nested model are in another graph, images are not features, and
# padding has no integer stride.
NO_SKIP_LAYERS: Final = (keras.Model, layers.InputLayer, layers.ZeroPadding2D)
ACTIVATIONS: Final = (
    layers.ReLU,
    layers.LeakyReLU,
    layers.PReLU,
    layers.ELU,
)  # activation layers without the attribute `activation`


def skip_tensors(
    backbone: keras.Model, skips: Sequence[Skip], *, argument: str, max_count: int
) -> list[keras.KerasTensor]:
    """Return the outputs of the layers ``skips``, each a name or an index in ``backbone.layers``.

    Args:
        backbone: Encoder, as a Keras model.
        skips: Names or indices of the layers, from deep to shallow.
        argument: Name of the argument ``skips`` in error messages.
        max_count: Maximum number of layers, which is the number of decoder blocks.

    Raises:
        WrongArgument: No layer has this name (the nearest is suggested) or index, ``skips`` is not a list or has more
            than ``max_count`` layers, or the output of a layer is not a feature map.
    """
    if isinstance(skips, str) or not isinstance(skips, Sequence):
        raise wrong_argument(argument, skips, expected="a list of layer names or indices, from deep to shallow")
    if len(skips) > max_count:
        raise wrong_argument(argument, list(skips), expected=f"at most {max_count} layers, one per decoder block")
    return [_output(backbone, skip, argument=argument) for skip in skips]


def _output(backbone: keras.Model, skip: Skip, *, argument: str) -> keras.KerasTensor:
    by_name = {layer.name: layer for layer in backbone.layers}
    layers_by_key = by_name | dict(enumerate(backbone.layers))
    if not isinstance(skip, str | int | np.integer) or skip not in layers_by_key:
        near = get_close_matches(str(skip), by_name, n=1)
        expected = f"the name of a layer of {backbone.name}, or an index from 0 to {len(by_name) - 1}"
        raise wrong_argument(argument, skip, expected=expected, hint=f"Did you mean {near[0]!r}?" if near else "")
    output = layers_by_key[skip].output
    if not is_feature_map(output):
        raise wrong_argument(argument, skip, expected=f"a layer with a feature map {FEATURE_MAP_SHAPE} as its output")
    return output


def skips_by_stride(model: keras.Model) -> tuple[str, ...]:
    """Find the layers of the skip connections, deep to shallow: the last activation before each downsampling by two.

    An activation is an activation layer, such as a ReLU, or a layer with an activation, such as a convolution of a VGG.
    "Last" refers to the order of ``model.layers``. If a stride has no activation, the last layer of that stride is
    returned, except at full resolution. Layers inside a nested model cannot be skip connections.

    For the encoders of segmentation_models, this function finds the layers in its table or other layers of equal
    stride. In bottleneck ResNets, it finds the ReLU after the first convolution of a unit (the table contains the ReLU
    before it); in DenseNets, the ReLU before the convolution of a transition (the table contains the convolution); and
    in Inception networks, a layer inside the last block (the table contains the output of the block).

    Args:
        model: A functional or built sequential model with a feature map as its only output. Unknown sides are assumed
            to be 256 pixels; only shapes are computed.

    Raises:
        WrongArgument: The output of ``model`` is not a single feature map, or the sides of two consecutive resolutions
            differ by a factor other than 2, so that a decoder that doubles the sides has no skip connection of equal
            size.

    >>> from keras import Input, Sequential, layers
    >>> first, second = (layers.Conv2D(8, 3, strides=2, padding="same", activation="relu") for _ in range(2))
    >>> skips_by_stride(Sequential([Input((None, None, 3)), first, second])) == (first.name,)
    True
    """
    layers_at, output_stride = _layers_by_stride(model)
    strides = sorted((stride for stride in layers_at if 1 < stride < output_stride), reverse=True)
    halvings = [output_stride >> step for step in range(1, len(strides) + 1)]
    if output_stride.bit_count() != 1 or strides != halvings or (output_stride != 2 and not strides):
        inner = [layer.name for layer in model.layers if isinstance(layer, keras.Model)]
        hint = f"Layers inside a nested model cannot be used: pass {inner[0]!r} itself." if inner else ""
        found = ", ".join(map(str, sorted(layers_at)))
        expected = f"an encoder that halves the sides step by step; its layers have the strides {found or 'none'}"
        raise wrong_argument("backbone", model.name, expected=expected, hint=hint)
    activations = {stride: list(filter(_has_activation, found)) for stride, found in layers_at.items()}
    skips = [(activations[stride] or layers_at[stride])[-1] for stride in strides]
    return tuple(layer.name for layer in skips + activations.get(1, [])[-1:])


def skip_with_stride(model: keras.Model, skips: Sequence[Skip], *, stride: int, argument: str) -> Skip:
    """Return the skip connection at 1/``stride`` of the image size.

    Raises:
        WrongArgument: ``model`` has no such skip connection; ``argument`` is the name of ``model`` in the message.
    """
    feature_maps = skip_tensors(model, skips, argument=argument, max_count=len(skips))
    found = {at: skip for skip, at in zip(skips, strides_of(model, feature_maps), strict=True)}
    if stride not in found:
        expected = f"an encoder with a skip connection at 1/{stride} of the image size"
        raise wrong_argument(argument, model.name, expected=expected)
    return found[stride]


def _layers_by_stride(model: keras.Model) -> tuple[dict[int, list[keras.Layer]], int]:
    """Return the layers of each stride, in graph order, and the stride of the output, or 0 if it is not an integer."""
    _, features = input_and_features(model)
    candidates = [
        layer
        for layer in model.layers
        if not isinstance(layer, NO_SKIP_LAYERS) and is_feature_map(getattr(layer, "output", None))
    ]
    strides = strides_of(model, [*(layer.output for layer in candidates), features])
    layers_at: defaultdict[int, list[keras.Layer]] = defaultdict(list)
    for layer, stride in zip(candidates, strides, strict=False):
        if stride:
            layers_at[stride].append(layer)
    return layers_at, strides[-1]


def strides_of(model: keras.Model, feature_maps: Sequence[keras.KerasTensor]) -> list[int]:
    """Return the stride of each feature map relative to the images, or 0 if it is not an integer."""
    source, _ = input_and_features(model)
    height, width = (side or ASSUMED_SIDE for side in source.shape[1:3])
    image = keras.KerasTensor((1, height, width, source.shape[3]), dtype=source.dtype)
    specs = keras.Function(source, list(feature_maps)).compute_output_spec(image)
    return [_stride((height, width), spec.shape[1:3]) for spec in specs]


def _stride(image: tuple[int, int], feature_map: tuple[int, int]) -> int:
    """Return the ratio of image size to feature map size, or 0 if it differs between the axes or is not an integer."""
    (rows, row_rest), (columns, column_rest) = (
        divmod(large, small) for large, small in zip(image, feature_map, strict=True)
    )
    return rows if rows == columns and not row_rest and not column_rest else 0


def _has_activation(layer: keras.Layer) -> bool:
    function = getattr(layer, "activation", None)
    return isinstance(layer, ACTIVATIONS) or function not in (None, keras.activations.linear)
