"""Identify the encoder of a Keras 2 file of segmentation_models by the names and shapes of its layers.

A PSPNet contains the layers of its encoder only up to the feature map that it uses. For encoders that are equal up to
this feature map, the networks are the same, and the first of these encoders is returned.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from maskwright.weights.segmentation_models.file import Shapes

Layers = Mapping[str, Shapes]
Units = tuple[int, ...]  # number of units per stage


@dataclass(frozen=True)
class Member:
    """Encoder that belongs to a family of encoders.

    Attributes:
        units: Number of units in each stage.
        filters: Numbers of filters, by layer name, that distinguish the encoder from others with the same units.
    """

    units: Units = ()
    filters: Mapping[str, int] = field(default_factory=dict)

    def matches(self, units: Units, layers: Layers) -> bool:
        """Return whether ``layers``, with these ``units``, are the first layers of the encoder."""
        complete, last = units[:-1], units[-1:]
        return (
            complete == self.units[: len(complete)]
            and last <= self.units[len(complete) : len(units)]
            and all(layers[name]["kernel"][-1] == count for name, count in self.filters.items() if name in layers)
        )


@dataclass(frozen=True)
class Family:
    """Family of encoders with the same layer names.

    Attributes:
        unique_layer: Name of a layer that exists in no other family.
        unit_pattern: Pattern for the name of a layer that occurs once in each unit; its first group is the stage.
        members: Encoders of the family, by name.
        stem: Name of the first layer with weights, which determines the number of input channels.
    """

    unique_layer: str
    unit_pattern: str
    members: Mapping[str, Member]
    stem: str


RESNETS_50: Final = {"50": Member((3, 4, 6, 3)), "101": Member((3, 4, 23, 3)), "152": Member((3, 8, 36, 3))}
RESIDUAL_UNIT: Final = r"stage(\d)_unit\d+_bn1"

FAMILIES: Final = (
    Family("stage1_unit1_sc_bn", RESIDUAL_UNIT, {f"resnext{n}": RESNETS_50[n] for n in ("50", "101")}, "bn_data"),
    Family("stage1_unit1_bn3", RESIDUAL_UNIT, {f"resnet{n}": member for n, member in RESNETS_50.items()}, "bn_data"),
    Family(
        "stage1_unit1_bn2",
        RESIDUAL_UNIT,
        {"resnet18": Member((2, 2, 2, 2)), "resnet34": Member((3, 4, 6, 3))},
        "bn_data",
    ),
    Family(
        "block1_conv1",
        r"block(\d)_conv\d",
        {"vgg16": Member((2, 2, 3, 3, 3)), "vgg19": Member((2, 2, 4, 4, 4))},
        "block1_conv1",
    ),
    Family(
        "conv2_block1_1_conv",
        r"conv(\d)_block\d+_1_conv",
        {
            "densenet121": Member((6, 12, 24, 16)),
            "densenet169": Member((6, 12, 32, 32)),
            "densenet201": Member((6, 12, 48, 32)),
        },
        "conv1_conv",
    ),
    Family("conv_dw_1", "", {"mobilenet": Member()}, "conv1"),
    Family("expanded_conv_depthwise", "", {"mobilenetv2": Member()}, "Conv1"),
    Family(
        "block1a_dwconv",
        r"block(\d)[a-z]_dwconv",
        {
            "efficientnetb0": Member((1, 2, 2, 3, 3, 4, 1)),
            "efficientnetb1": Member((2, 3, 3, 4, 4, 5, 2), {"stem_conv": 32, "block3a_project_conv": 40}),
            "efficientnetb2": Member((2, 3, 3, 4, 4, 5, 2), {"stem_conv": 32, "block3a_project_conv": 48}),
            "efficientnetb3": Member((2, 3, 3, 5, 5, 6, 2), {"stem_conv": 40}),
            "efficientnetb4": Member((2, 4, 4, 6, 6, 8, 2)),
            "efficientnetb5": Member((3, 5, 5, 7, 7, 9, 3)),
            "efficientnetb6": Member((3, 6, 6, 8, 8, 11, 3)),
            "efficientnetb7": Member((4, 7, 7, 10, 10, 13, 4)),
        },
        "stem_conv",
    ),
    Family("block35_1_conv", "", {"inceptionresnetv2": Member()}, ""),
)

# Encoders with only automatically named layers are identified by the first kernel and, for a cardinality of 32, by a
# slice of the first grouped convolution. The units of a stage are counted by their squeeze-and-excitation gates, which
# have as many output channels as the stage.
STAGE_CHANNELS: Final = (256, 512, 1024, 2048)
GROUP_SLICE: Final = (3, 3, 4, 4)


@dataclass(frozen=True)
class IdentifiedEncoder:
    """Name of an encoder in the table of backbones, and its number of input channels."""

    name: str
    channels: int


def identify_encoder(named: Layers, auto_named: Layers) -> IdentifiedEncoder | None:
    """Return the encoder with the given layers, or None if no encoder in segmentation_models has these layers.

    Args:
        named: Shapes of the weights of layers with given names, by their names in this package.
        auto_named: Shapes of the weights of automatically named layers, by type and, for each type, in order of
            creation.
    """
    kernels = [shapes["kernel"] for shapes in auto_named.values() if len(shapes.get("kernel", ())) == 4]
    for family in FAMILIES:
        if family.unique_layer not in named:
            continue
        if name := _matching_member(family.members, _count_units(family.unit_pattern, named), named):
            has_gates = name in ("resnet18", "resnet34") and any(kernel[:2] == (1, 1) for kernel in kernels)
            stem = named[family.stem] if family.stem else {"kernel": kernels[0]}
            channels = stem["kernel"][-2] if "kernel" in stem else stem["moving_mean"][0]
            return IdentifiedEncoder("se" * has_gates + name, channels)
    if not kernels:
        return None
    name = _matching_member(_auto_named_members(kernels), _count_gates(auto_named), named)
    return IdentifiedEncoder(name, kernels[0][2]) if name else None


def _matching_member(members: Mapping[str, Member], units: Units, layers: Layers) -> str | None:
    return next((name for name, member in members.items() if member.matches(units, layers)), None)


def _count_units(unit_pattern: str, layers: Layers) -> Units:
    counts = Counter(match[1] for name in layers if unit_pattern and (match := re.fullmatch(unit_pattern, name)))
    return tuple(counts[stage] for stage in sorted(counts))


def _count_gates(auto_named: Layers) -> Units:
    kernels = (shapes["kernel"] for shapes in auto_named.values() if shapes.keys() == {"kernel", "bias"})
    counts = Counter(kernel[-1] for kernel in kernels if kernel[:2] == (1, 1) and kernel[-1] > kernel[-2])
    return tuple(counts[channels] for channels in STAGE_CHANNELS if counts[channels])


def _auto_named_members(kernels: list[tuple[int, ...]]) -> Mapping[str, Member]:
    match kernels[0]:
        case (7, 7, _, 64) if GROUP_SLICE in kernels:
            return {f"seresnext{n}": RESNETS_50[n] for n in ("50", "101")}
        case (7, 7, _, 64):
            return {f"seresnet{n}": member for n, member in RESNETS_50.items()}
        case (3, 3, _, 64):
            return {"senet154": RESNETS_50["152"]}
        case (3, 3, _, 32):
            return {"inceptionv3": Member()}
    return {}
