"""Map layer names to the module names of segmentation_models_pytorch."""

from collections.abc import Mapping
from typing import Final

from maskwright.weights.torch.names import RESNET_RULES, Rules

ENCODER_AND_HEAD: Final[Rules] = {
    **{layer: f"encoder.{module}" for layer, module in RESNET_RULES.items()},
    "final_conv": "segmentation_head.0",
}


def _conv_and_norm(layer: str, module: str) -> Rules:
    return {f"{layer}_conv": f"{module}.0", f"{layer}_bn": f"{module}.1"}


def _separable(layer: str, module: str) -> Rules:
    return {
        f"{layer}_depthwise": f"{module}.0.0",
        f"{layer}_conv": f"{module}.0.1",
        f"{layer}_bn": f"{module}.1",
    }


def _unet_block(layer: str, module: str) -> Rules:
    attention = rf"{module}.attention\2.attention"  # the first group of the pattern is the name of the block
    return {
        **_conv_and_norm(f"{layer}a", f"{module}.conv1"),
        **_conv_and_norm(f"{layer}b", f"{module}.conv2"),
        rf"{layer}_attention(\d)_se_reduce": f"{attention}.cSE.1",
        rf"{layer}_attention(\d)_se_expand": f"{attention}.cSE.3",
        rf"{layer}_attention(\d)_pixel_gate": f"{attention}.sSE.0",
    }


RULES: Final[Mapping[str, Rules]] = {
    "Unet": {**ENCODER_AND_HEAD, **_unet_block(r"decoder_stage(\d)", r"decoder.blocks.\1")},
    "UnetPlusPlus": {**ENCODER_AND_HEAD, **_unet_block(r"decoder_(x_\d_\d)", r"decoder.blocks.\1")},
    "Linknet": {
        **ENCODER_AND_HEAD,
        **_conv_and_norm(r"decoder_stage(\d)a", r"decoder.blocks.\1.block.0"),
        r"decoder_stage(\d)b_transpose": r"decoder.blocks.\1.block.1.0",
        r"decoder_stage(\d)b_bn": r"decoder.blocks.\1.block.1.1",
        **_conv_and_norm(r"decoder_stage(\d)c", r"decoder.blocks.\1.block.2"),
    },
    "FPN": {
        **ENCODER_AND_HEAD,
        "decoder_p5": "decoder.p5",
        r"decoder_(p\d)_skip_conv": r"decoder.\1.skip_conv",
        **_conv_and_norm(r"decoder_seg_blocks_(\d)_block_(\d)", r"decoder.seg_blocks.\1.block.\2.block"),
    },
    "DeepLabV3Plus": {
        **ENCODER_AND_HEAD,
        **_conv_and_norm("decoder_aspp_0_convs_0", "decoder.aspp.0.convs.0"),
        **_separable(r"decoder_aspp_0_convs_([123])", r"decoder.aspp.0.convs.\1"),
        "decoder_aspp_0_convs_4_conv": "decoder.aspp.0.convs.4.1",
        "decoder_aspp_0_convs_4_bn": "decoder.aspp.0.convs.4.2",
        **_conv_and_norm("decoder_aspp_0_project", "decoder.aspp.0.project"),
        "decoder_aspp_1_depthwise": "decoder.aspp.1.0",
        "decoder_aspp_1_conv": "decoder.aspp.1.1",
        "decoder_aspp_1_bn": "decoder.aspp.2",
        **_conv_and_norm("decoder_block1", "decoder.block1"),
        **_separable("decoder_block2", "decoder.block2"),
    },
}
"""Rules by the name of smp's class."""
