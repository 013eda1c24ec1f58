"""One table of encoders: name -> how to build it, where decoders tap it, what pixels it expects."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

import keras
import numpy as np
from keras import layers

from maskwright.errors import one_of, wrong_argument
from maskwright.networks.checks import MAP, ImageShape, is_map
from maskwright.networks.resnet import (
    FirstUnit,
    ResNet18,
    ResNet34,
    ResNet50,
    ResNet101,
    ResNet152,
    ResNetVariant,
    SEResNet18,
    SEResNet34,
)

Skip = str | int


@dataclass(frozen=True)
class Backbone:
    """An encoder: ``build`` makes it, ``skips`` are the layers a decoder joins, from deep to shallow.

    Images are fed with channels in the order ``channels`` and values in ``pixel_range``, without other preprocessing.
    """

    build: ResNetVariant
    skips: tuple[str, ...] = ("stage4_unit1_relu1", "stage3_unit1_relu1", "stage2_unit1_relu1", "relu0")
    channels: str = "RGB"
    pixel_range: tuple[float, float] = (0.0, 255.0)


BACKBONES: Final[Mapping[str, Backbone]] = {
    "resnet18": Backbone(ResNet18),
    "resnet34": Backbone(ResNet34),
    "resnet50": Backbone(ResNet50),
    "resnet101": Backbone(ResNet101),
    "resnet152": Backbone(ResNet152),
    "seresnet18": Backbone(SEResNet18),
    "seresnet34": Backbone(SEResNet34),
}


def backbones() -> list[str]:
    """Names of the encoders, in the order of the table.

    >>> backbones()[:3]
    ['resnet18', 'resnet34', 'resnet50']
    """
    return list(BACKBONES)


def build_backbone(
    name: str, *, input_shape: ImageShape = (None, None, 3), first_unit: FirstUnit = "projection"
) -> keras.Model:
    """The encoder called ``name``, without a classifier: images in 0-255 to features at 1/32 of their size.

    Args:
        name: One of `backbones()`.
        input_shape: Height, width and channels; height and width may be None.
        first_unit: Shortcut of the first unit, see `build_resnet`; published ImageNet weights fit ``"projection"``.

    Raises:
        UnknownChoice: no encoder has this name, or ``first_unit`` is unknown.
        WrongArgument: ``input_shape`` cannot be used.

    >>> build_backbone("resnet18", input_shape=(64, 64, 3)).output_shape
    (None, 2, 2, 512)
    """
    build = one_of("name", name, BACKBONES).build
    return build(first_unit=first_unit, input_shape=input_shape, include_top=False)


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


def freeze_encoder(encoder: keras.Model) -> None:
    """Make every layer of ``encoder`` untrainable but its batch normalisations, which go on following the new images.

    >>> encoder = build_backbone("resnet18", input_shape=(64, 64, 3))
    >>> freeze_encoder(encoder)
    >>> {type(layer).__name__ for layer in encoder.layers if layer.trainable_weights}
    {'BatchNormalization'}
    """
    for layer in encoder.layers:
        if not isinstance(layer, layers.BatchNormalization):
            layer.trainable = False
