"""Define the architectures that exist in both segmentation_models_pytorch (smp) and this package.

Source: names and shapes of the tensors, and arguments of the classes, in segmentation_models_pytorch 0.6.0.
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

Shapes = Mapping[str, tuple[int, ...]]  # shapes of tensors by name
Options = Mapping[str, Any]  # arguments of smp's classes by name
SupportedValues = Mapping[str, Sequence[object]]  # argument of smp's classes -> its supported values


@dataclass(frozen=True)
class Architecture:
    """Network class of smp, and the function that builds the same network in this package.

    Attributes:
        unique_tensor: Name of a tensor that exists in no other supported class.
        read_options: Function that infers arguments of smp's class from the shapes of tensors.
        build: Function that builds the network in this package.
        arguments: Mapping from the names of smp's arguments to those of the arguments of ``build``.
        supported: Supported values of smp's arguments, by name.
        skips: Names of the encoder layers whose outputs are the skip connections.
        output_stride: Output stride of the encoder.
        unused_tensors: Function that returns the shapes of the tensors that smp stores but does not use.
    """

    unique_tensor: str
    read_options: Callable[[Shapes], Options]
    build: Callable[..., keras.Model]
    arguments: Mapping[str, str]
    supported: SupportedValues
    skips: Sequence[str] = RESNET_V1_SKIPS
    output_stride: int = 32
    unused_tensors: Callable[[Options], Shapes] = lambda options: {}


def matched_numbers(pattern: str, shapes: Shapes) -> set[str]:
    """Return the strings that the first group of ``pattern`` matches in the names of tensors."""
    return {match[1] for name in shapes if (match := re.fullmatch(pattern, name))}


def _width(module: str, shapes: Shapes) -> int:
    return next(iter(shapes.get(f"{module}.weight", ())), 0)


def _unet_options(shapes: Shapes, *, block: str) -> Options:
    depth = len(matched_numbers(rf"{re.escape(block)}(\d+)\.conv1\.0\.weight", shapes))
    return {
        "encoder_depth": depth,
        "decoder_channels": [_width(f"{block}{level}.conv2.0", shapes) for level in range(depth)],
        "decoder_use_norm": f"{block}0.conv1.1.running_mean" in shapes,
        "decoder_attention_type": "scse" if f"{block}0.attention2.attention.sSE.0.weight" in shapes else None,
    }


def _unused_unet_tensors(options: Options, *, block: str) -> Shapes:
    """Return the shapes of the tensors of the skip attention in the last block, which has no skip connection."""
    if options["decoder_attention_type"] is None:
        return {}
    *_, width, _ = options["decoder_channels"]
    shapes = {"cSE.1": (width // 16, width, 1, 1), "cSE.3": (width, width // 16, 1, 1), "sSE.0": (1, width, 1, 1)}
    module = f"{block}4.attention1.attention"
    kernels = {f"{module}.{part}.weight": shape for part, shape in shapes.items()}
    return kernels | {f"{module}.{part}.bias": shape[:1] for part, shape in shapes.items()}


def _linknet_options(shapes: Shapes) -> Options:
    depth = len(matched_numbers(r"decoder\.blocks\.(\d+)\..*", shapes))
    return {"encoder_depth": depth, "decoder_use_norm": "decoder.blocks.0.block.0.1.running_mean" in shapes}


def _fpn_options(shapes: Shapes) -> Options:
    width = _width("decoder.seg_blocks.0.block.0.block.0", shapes)
    head_inputs = shapes["segmentation_head.0.weight"][1]
    return {
        "decoder_pyramid_channels": _width("decoder.p5", shapes),
        "decoder_segmentation_channels": width,
        "decoder_merge_policy": "add" if head_inputs == width else "cat",
    }


def _deeplab_options(shapes: Shapes) -> Options:
    return {
        "decoder_channels": _width("decoder.aspp.0.project.0", shapes),
        "decoder_aspp_separable": "decoder.aspp.0.convs.1.0.0.weight" in shapes,
    }


# Supported values of arguments in smp's config.json; arguments that are not listed do not affect predictions.
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
        unique_tensor="decoder.blocks.0.conv1.0.weight",
        read_options=partial(_unet_options, block=UNET_BLOCK),
        build=partial(build_unet, norm=torch_batch_norm),
        arguments=UNET_ARGUMENTS,
        supported=NEAREST | NORMS,
        unused_tensors=partial(_unused_unet_tensors, block=UNET_BLOCK),
    ),
    "UnetPlusPlus": Architecture(
        unique_tensor="decoder.blocks.x_0_0.conv1.0.weight",
        read_options=partial(_unet_options, block=UNETPLUSPLUS_BLOCK),
        build=build_unetplusplus,
        arguments=UNET_ARGUMENTS,
        supported=NEAREST | NORMS,
        unused_tensors=partial(_unused_unet_tensors, block=UNETPLUSPLUS_BLOCK),
    ),
    "Linknet": Architecture(
        unique_tensor="decoder.blocks.0.block.0.0.weight",
        read_options=_linknet_options,
        build=build_smp_linknet,
        arguments={"decoder_use_norm": "use_batchnorm"},
        supported=COMMON | NORMS,
    ),
    "FPN": Architecture(
        unique_tensor="decoder.p5.weight",
        read_options=_fpn_options,
        build=build_smp_fpn,
        arguments={
            "decoder_pyramid_channels": "pyramid_channels",
            "decoder_segmentation_channels": "segmentation_channels",
            "decoder_merge_policy": "merge_policy",
        },
        skips=RESNET_V1_SKIPS[:3],
        supported=NEAREST | {"upsampling": (4,)},
    ),
    "DeepLabV3Plus": Architecture(
        unique_tensor="decoder.aspp.0.project.0.weight",
        read_options=_deeplab_options,
        build=build_deeplabv3plus,
        arguments={"decoder_channels": "decoder_channels"},
        skips=("layer1",),
        output_stride=16,
        supported=COMMON
        | {
            "encoder_output_stride": (16,),
            "decoder_atrous_rates": ([12, 24, 36],),
            "decoder_aspp_separable": (True,),
            "upsampling": (4,),
        },
    ),
}
"""Architectures by the name of their class in smp."""
