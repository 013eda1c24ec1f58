"""The architectures that segmentation_models_pytorch and this package both have, one row each.

Source: segmentation_models_pytorch 0.6.0, the names and shapes of its tensors and the arguments of its classes.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import keras

from maskwright.networks.blocks import torch_batch_norm
from maskwright.networks.deeplabv3plus import build_deeplabv3plus
from maskwright.networks.resnet_v1 import RESNET_V1_SKIPS
from maskwright.networks.smp_fpn import build_smp_fpn
from maskwright.networks.smp_linknet import build_smp_linknet
from maskwright.networks.unet import build_unet
from maskwright.networks.unetplusplus import build_unetplusplus

Shapes = Mapping[str, tuple[int, ...]]  # of tensors, by name
Options = Mapping[str, Any]  # arguments of smp's classes, by their names there
Choices = Mapping[str, Sequence[object]]  # arguments of smp's classes -> the values that are built here


@dataclass(frozen=True)
class Architecture:
    """A class of smp's with a twin here."""

    mark: str  # the name of a tensor that no other class here has
    told: Callable[[Shapes], Options]  # the arguments that tensors tell
    build: Callable[..., keras.Model]
    arguments: Mapping[str, str]  # those of them that ``build`` takes -> their names there
    only: Choices
    skips: Sequence[str] = RESNET_V1_SKIPS
    output_stride: int = 32
    idle: Callable[[Options], Shapes] = lambda options: {}  # tensors it never computes with


def numbers(pattern: str, shapes: Shapes) -> set[str]:
    """The numbers that ``pattern``'s first group finds in names of tensors."""
    return {found[1] for name in shapes if (found := re.fullmatch(pattern, name))}


def _width(module: str, shapes: Shapes) -> int:
    return next(iter(shapes.get(f"{module}.weight", ())), 0)


def _unet_options(shapes: Shapes, *, block: str) -> Options:
    depth = len(numbers(rf"{re.escape(block)}(\d+)\.conv1\.0\.weight", shapes))
    return {
        "encoder_depth": depth,
        "decoder_channels": [_width(f"{block}{level}.conv2.0", shapes) for level in range(depth)],
        "decoder_use_norm": f"{block}0.conv1.1.running_mean" in shapes,
        "decoder_attention_type": "scse" if f"{block}0.attention2.attention.sSE.0.weight" in shapes else None,
    }


def _unet_idle(options: Options, *, block: str) -> Shapes:
    """The attention that weighs a block's skip, in the last block, which has no skip."""
    if options["decoder_attention_type"] is None:
        return {}
    *_, width, _ = options["decoder_channels"]
    shapes = {"cSE.1": (width // 16, width, 1, 1), "cSE.3": (width, width // 16, 1, 1), "sSE.0": (1, width, 1, 1)}
    module = f"{block}4.attention1.attention"
    kernels = {f"{module}.{part}.weight": shape for part, shape in shapes.items()}
    return kernels | {f"{module}.{part}.bias": shape[:1] for part, shape in shapes.items()}


def _linknet_options(shapes: Shapes) -> Options:
    depth = len(numbers(r"decoder\.blocks\.(\d+)\..*", shapes))
    return {"encoder_depth": depth, "decoder_use_norm": "decoder.blocks.0.block.0.1.running_mean" in shapes}


def _fpn_options(shapes: Shapes) -> Options:
    width = _width("decoder.seg_blocks.0.block.0.block.0", shapes)
    merged = shapes["segmentation_head.0.weight"][1]
    return {
        "decoder_pyramid_channels": _width("decoder.p5", shapes),
        "decoder_segmentation_channels": width,
        "decoder_merge_policy": "add" if merged == width else "cat",
    }


def _deeplab_options(shapes: Shapes) -> Options:
    return {
        "decoder_channels": _width("decoder.aspp.0.project.0", shapes),
        "decoder_aspp_separable": "decoder.aspp.0.convs.1.0.0.weight" in shapes,
    }


# What smp's own config.json may say beyond what tensors tell; arguments left out here change nothing that is predicted.
COMMON: Final[dict[str, Sequence[object]]] = {
    "encoder_depth": (5,),
    "aux_params": (None,),
    "activation": (None, "identity", "sigmoid", "softmax", "softmax2d"),
}
NEAREST: Final[dict[str, Sequence[object]]] = {**COMMON, "decoder_interpolation": ("nearest",)}
NORMS: Final[dict[str, Sequence[object]]] = {"decoder_use_norm": (True, False, "batchnorm", "identity")}
UNET_BLOCK, UNETPLUSPLUS_BLOCK = "decoder.blocks.", "decoder.blocks.x_0_"
UNET_ARGUMENTS: Final = {
    "decoder_channels": "decoder_filters",
    "decoder_use_norm": "use_batchnorm",
    "decoder_attention_type": "attention",
}

ARCHITECTURES: Final[Mapping[str, Architecture]] = {
    "Unet": Architecture(
        mark="decoder.blocks.0.conv1.0.weight",
        told=partial(_unet_options, block=UNET_BLOCK),
        build=partial(build_unet, norm=torch_batch_norm),
        arguments=UNET_ARGUMENTS,
        only=NEAREST | NORMS,
        idle=partial(_unet_idle, block=UNET_BLOCK),
    ),
    "UnetPlusPlus": Architecture(
        mark="decoder.blocks.x_0_0.conv1.0.weight",
        told=partial(_unet_options, block=UNETPLUSPLUS_BLOCK),
        build=build_unetplusplus,
        arguments=UNET_ARGUMENTS,
        only=NEAREST | NORMS,
        idle=partial(_unet_idle, block=UNETPLUSPLUS_BLOCK),
    ),
    "Linknet": Architecture(
        mark="decoder.blocks.0.block.0.0.weight",
        told=_linknet_options,
        build=build_smp_linknet,
        arguments={"decoder_use_norm": "use_batchnorm"},
        only=COMMON | NORMS,
    ),
    "FPN": Architecture(
        mark="decoder.p5.weight",
        told=_fpn_options,
        build=build_smp_fpn,
        arguments={
            "decoder_pyramid_channels": "pyramid_channels",
            "decoder_segmentation_channels": "segmentation_channels",
            "decoder_merge_policy": "merge_policy",
        },
        skips=RESNET_V1_SKIPS[:3],
        only=NEAREST | {"upsampling": (4,)},
    ),
    "DeepLabV3Plus": Architecture(
        mark="decoder.aspp.0.project.0.weight",
        told=_deeplab_options,
        build=build_deeplabv3plus,
        arguments={"decoder_channels": "decoder_channels"},
        skips=("layer1",),
        output_stride=16,
        only=COMMON
        | {
            "encoder_output_stride": (16,),
            "decoder_atrous_rates": ([12, 24, 36],),
            "decoder_aspp_separable": (True,),
            "upsampling": (4,),
        },
    ),
}
"""A class of smp's, by its name -> how to tell and how to build its networks."""
