"""Which encoder of the reference library a Keras 2 file holds, told by the names and shapes of its layers.

A PSPNet keeps an encoder's layers only up to its tap. Encoders that do not differ up to there make the same network,
so any of them is right, and the first is taken.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from maskwright.weights.segmentation_models.file import Shapes

Layers = Mapping[str, Shapes]
Units = tuple[int, ...]  # how many units each stage has


@dataclass(frozen=True)
class Member:
    """One encoder of a family: the units of its stages, and filters by which it differs from its siblings."""

    units: Units = ()
    filters: Mapping[str, int] = field(default_factory=dict)

    def may_be(self, units: Units, layers: Layers) -> bool:
        """Whether ``layers``, with this many units, are those of this encoder from the image up to some layer."""
        whole, last = units[:-1], units[-1:]
        return (
            whole == self.units[: len(whole)]
            and last <= self.units[len(whole) : len(units)]
            and all(layers[name]["kernel"][-1] == count for name, count in self.filters.items() if name in layers)
        )


@dataclass(frozen=True)
class Family:
    """Encoders told from all others by a layer, ``mark``, and from each other by the matches of ``unit``."""

    mark: str
    unit: str
    members: Mapping[str, Member]
    stem: str  # the first layer with weights, which reads the image


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

# Families of which no layer has a name are told by the first kernel and, with cardinality 32, by a slice of the
# first grouped convolution. A unit is counted by its gate, which widens to as many channels as the unit has.
STAGE_CHANNELS: Final = (256, 512, 1024, 2048)
GROUP_SLICE: Final = (3, 3, 4, 4)


@dataclass(frozen=True)
class FoundEncoder:
    """An encoder's name in the table of backbones, and the channels of the images it takes."""

    name: str
    channels: int


def identify_encoder(named: Layers, unnamed: Layers) -> FoundEncoder | None:
    """The encoder whose layers these are, None if it is none of the reference library's.

    Args:
        named: The layers that have a name, with the shapes of their weights, under their names here.
        unnamed: Those that Keras numbered, kind after kind, each kind in the order of creation.
    """
    kernels = [shapes["kernel"] for shapes in unnamed.values() if len(shapes.get("kernel", ())) == 4]
    for family in FAMILIES:
        if family.mark in named and (name := _member(family.members, _units(family.unit, named), named)):
            gated = name in ("resnet18", "resnet34") and any(kernel[:2] == (1, 1) for kernel in kernels)
            stem = named[family.stem] if family.stem else {"kernel": kernels[0]}
            channels = stem["kernel"][-2] if "kernel" in stem else stem["moving_mean"][0]
            return FoundEncoder("se" * gated + name, channels)
    if not kernels:
        return None
    name = _member(_nameless(kernels), _gated_units(unnamed), named)
    return FoundEncoder(name, kernels[0][2]) if name else None


def _member(members: Mapping[str, Member], units: Units, layers: Layers) -> str | None:
    return next((name for name, member in members.items() if member.may_be(units, layers)), None)


def _units(unit: str, layers: Layers) -> Units:
    found = Counter(match[1] for name in layers if unit and (match := re.fullmatch(unit, name)))
    return tuple(found[stage] for stage in sorted(found))


def _gated_units(unnamed: Layers) -> Units:
    gates = (shapes["kernel"] for shapes in unnamed.values() if shapes.keys() == {"kernel", "bias"})
    found = Counter(kernel[-1] for kernel in gates if kernel[:2] == (1, 1) and kernel[-1] > kernel[-2])
    return tuple(found[channels] for channels in STAGE_CHANNELS if found[channels])


def _nameless(kernels: list[tuple[int, ...]]) -> Mapping[str, Member]:
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
