"""Names of layers in Keras 2 files: which are Keras' own numbering, and what the others are called here."""

import re
from collections.abc import Mapping
from typing import Final

import numpy as np

from maskwright.weights.legacy_file import Arrays

# Keras numbers the layers that nobody named: conv2d, conv2d_1, conv2d_2, ... in the order of their creation.
NUMBERED: Final = re.compile(r"(conv2d|conv2d_transpose|depthwise_conv2d|batch_normalization|dense)(?:_(\d+))?")

# The decoder of the reference library's first releases, which the article's authors used.
FIRST_RELEASES: Final = (
    (re.compile(r"(decoder_stage\d+)_upsample"), r"\1a_transpose"),
    (re.compile(r"(decoder_stage\d+)_(conv|bn)1"), r"\1a_\2"),
    (re.compile(r"(decoder_stage\d+)_(conv|bn)2"), r"\1b_\2"),
)


def numbered(name: str) -> tuple[str, int] | None:
    """Kind and number of a layer Keras named, None for one that a person named.

    >>> numbered("batch_normalization_12"), numbered("conv2d"), numbered("conv0")
    (('batch_normalization', 12), ('conv2d', 0), None)
    """
    found = NUMBERED.fullmatch(name)
    return (found[1], int(found[2] or 0)) if found else None


def name_here(name: str) -> str:
    """What Keras 3, or this package, calls the layer that a Keras 2 file calls ``name``.

    Keras 3 allows no slash in a name, so its networks say ``conv1_conv`` for the ``conv1/conv`` of keras_applications.

    >>> name_here("conv1/conv"), name_here("decoder_stage0_bn2"), name_here("stage1_unit1_conv1")
    ('conv1_conv', 'decoder_stage0b_bn', 'stage1_unit1_conv1')
    """
    for pattern, ours in FIRST_RELEASES:
        if pattern.fullmatch(name):
            return pattern.sub(ours, name)
    return name.replace("/", "_")


def named_as_here(layers: Mapping[str, Arrays]) -> dict[str, Arrays]:
    """The layers under the names they have here, without the biases that a batch normalisation swallows.

    The first releases gave a decoder's convolutions a bias even before a batch normalisation, which subtracts it
    again: (x + bias) - mean is x - (mean - bias).
    """
    renamed: dict[str, Arrays] = {name_here(name): arrays for name, arrays in layers.items()}
    for name, norm in list(renamed.items()):
        for suffix in ("_conv", "_transpose"):
            conv = name.removesuffix("_bn") + suffix
            if name.startswith("decoder_stage") and name.endswith("_bn") and "bias" in renamed.get(conv, {}):
                renamed[name] = {**norm, "moving_mean": np.subtract(norm["moving_mean"], renamed[conv]["bias"])}
                renamed[conv] = {key: array for key, array in renamed[conv].items() if key != "bias"}
    return renamed
