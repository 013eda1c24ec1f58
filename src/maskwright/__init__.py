"""Maskwright: folders of images and masks in, a trained U-Net and masks for new images out.

The names below load what they need when they are first used, so that predicting starts without a training framework.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# TensorFlow uses these kernels by itself only on processors made for them; on others as well they train in less time.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

if TYPE_CHECKING:
    from maskwright import losses, metrics, networks, weights
    from maskwright.errors import InputError
    from maskwright.models import FPN, DeepLabV3Plus, Linknet, PSPNet, Unet, UnetPlusPlus
    from maskwright.networks import (
        ResNet18,
        ResNet34,
        ResNet50,
        ResNet101,
        ResNet152,
        SEResNet18,
        SEResNet34,
        backbones,
        build_backbone,
        build_resnet,
        build_unet,
        get_preprocessing,
    )
    from maskwright.segmenter import Segmenter
    from maskwright.training.load_legacy import load_legacy

_HOMES = {
    "Segmenter": "maskwright.segmenter",
    "InputError": "maskwright.errors",
    "load_legacy": "maskwright.training.load_legacy",
    **dict.fromkeys(("losses", "metrics", "networks", "weights"), "maskwright"),
    **dict.fromkeys(("Unet", "FPN", "Linknet", "PSPNet", "UnetPlusPlus", "DeepLabV3Plus"), "maskwright.models"),
    **dict.fromkeys(
        (
            *("backbones", "build_backbone", "build_resnet", "build_unet", "get_preprocessing"),
            *("ResNet18", "ResNet34", "ResNet50", "ResNet101", "ResNet152", "SEResNet18", "SEResNet34"),
        ),
        "maskwright.networks",
    ),
}
__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # slow to import and seldom needed

        return version("maskwright")
    if name not in _HOMES:
        raise AttributeError(f"module 'maskwright' has no attribute {name!r}")
    home = _HOMES[name]
    return import_module(f"{home}.{name}") if home == "maskwright" else getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
