"""Map layer names of Keras 2 files to the names in this package."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from maskwright.errors import InputError
from maskwright.weights.segmentation_models.file import Arrays

# Keras numbers layers that were not named explicitly in the order of their creation: conv2d, conv2d_1, ...
AUTO_NAME: Final = re.compile(r"(conv2d|conv2d_transpose|depthwise_conv2d|batch_normalization|dense)(?:_(\d+))?")

# Decoder layers in the first releases of segmentation_models -> their names in later releases and in this package.
FIRST_RELEASE_NAMES: Final = (
    (re.compile(r"(decoder_stage\d+)_upsample"), r"\1a_transpose"),
    (re.compile(r"(decoder_stage\d+)_(conv|bn)1"), r"\1a_\2"),
    (re.compile(r"(decoder_stage\d+)_(conv|bn)2"), r"\1b_\2"),
)


class DuplicateLayerName(InputError):
    """Two layers of a file that have the same name in this package."""

    text = "{file}: the layers {first} and {second} both correspond to the layer {name}; expected only one of them."


def parse_auto_name(name: str) -> tuple[str, int] | None:
    """Return the type and number in an automatic layer name of Keras, or None for any other name.

    >>> parse_auto_name("batch_normalization_12"), parse_auto_name("conv2d"), parse_auto_name("conv0")
    (('batch_normalization', 12), ('conv2d', 0), None)
    """
    match = AUTO_NAME.fullmatch(name)
    return (match[1], int(match[2] or 0)) if match else None


def current_name(name: str) -> str:
    """Return the name in this package of the layer that a Keras 2 file calls ``name``.

    Keras 3 does not allow slashes in names, so the ``conv1/conv`` of keras_applications is ``conv1_conv`` in Keras 3.

    >>> current_name("conv1/conv"), current_name("decoder_stage0_bn2"), current_name("stage1_unit1_conv1")
    ('conv1_conv', 'decoder_stage0b_bn', 'stage1_unit1_conv1')
    """
    for pattern, replacement in FIRST_RELEASE_NAMES:
        if pattern.fullmatch(name):
            return pattern.sub(replacement, name)
    return name.replace("/", "_")


def rename_layers(layers: Mapping[str, Arrays], *, file: Path) -> dict[str, Arrays]:
    """Return the layers of ``file`` by their names in this package, with redundant biases removed.

    In the first releases of segmentation_models, decoder convolutions have a bias even before batch normalisation. The
    bias is subtracted from the mean of the normalisation: (x + bias) - mean = x - (mean - bias).

    Raises:
        DuplicateLayerName: Two layers have the same name in this package.
    """
    file_names: dict[str, str] = {}
    for name in layers:
        if (first := file_names.setdefault(current_name(name), name)) != name:
            raise DuplicateLayerName(file=file, first=first, second=name, name=current_name(name))
    renamed: dict[str, Arrays] = {name: layers[file_names[name]] for name in file_names}
    for name, norm in list(renamed.items()):
        for suffix in ("_conv", "_transpose"):
            conv = name.removesuffix("_bn") + suffix
            if not (name.startswith("decoder_stage") and name.endswith("_bn") and "bias" in renamed.get(conv, {})):
                continue
            mean, bias = norm.get("moving_mean"), renamed[conv]["bias"]
            if mean is not None and mean.shape == bias.shape:  # other shapes are reported as an error during loading
                renamed[name] = {**norm, "moving_mean": np.subtract(mean, bias)}
                renamed[conv] = {key: array for key, array in renamed[conv].items() if key != "bias"}
    return renamed
