"""Names of layers in Keras 2 files: which are Keras' own numbering, and what the others are called here."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from maskwright.errors import InputError
from maskwright.weights.segmentation_models.file import Arrays

# Keras numbers the layers that nobody named: conv2d, conv2d_1, conv2d_2, ... in the order of their creation.
NUMBERED: Final = re.compile(r"(conv2d|conv2d_transpose|depthwise_conv2d|batch_normalization|dense)(?:_(\d+))?")

# The decoder of the reference library's first releases, which the article's authors used.
FIRST_RELEASES: Final = (
    (re.compile(r"(decoder_stage\d+)_upsample"), r"\1a_transpose"),
    (re.compile(r"(decoder_stage\d+)_(conv|bn)1"), r"\1a_\2"),
    (re.compile(r"(decoder_stage\d+)_(conv|bn)2"), r"\1b_\2"),
)


class SameName(InputError):
    """Two layers of a file that have one name here, of which only one can be read."""

    text = "{file}: the layers {first} and {second} are both called {name} here; expected a file with one of them."


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


def named_as_here(layers: Mapping[str, Arrays], *, file: Path) -> dict[str, Arrays]:
    """The layers of ``file`` under the names they have here, without the biases that a batch normalisation swallows.

    The first releases gave a decoder's convolutions a bias even before a batch normalisation, which subtracts it
    again: (x + bias) - mean is x - (mean - bias).

    Raises:
        SameName: two layers have one name here.
    """
    theirs: dict[str, str] = {}
    for name in layers:
        if (first := theirs.setdefault(name_here(name), name)) != name:
            raise SameName(file=file, first=first, second=name, name=name_here(name))
    renamed: dict[str, Arrays] = {name: layers[theirs[name]] for name in theirs}
    for name, norm in list(renamed.items()):
        for suffix in ("_conv", "_transpose"):
            conv = name.removesuffix("_bn") + suffix
            if not (name.startswith("decoder_stage") and name.endswith("_bn") and "bias" in renamed.get(conv, {})):
                continue
            mean, bias = norm.get("moving_mean"), renamed[conv]["bias"]
            if mean is not None and mean.shape == bias.shape:  # of others, filling the network tells
                renamed[name] = {**norm, "moving_mean": np.subtract(mean, bias)}
                renamed[conv] = {key: array for key, array in renamed[conv].items() if key != "bias"}
    return renamed
