"""Networks as graphs of Keras layers; knows nothing of files, data or training.

The one exception: `Unet` hands Keras the weights file a user names.
"""

from maskwright.networks.backbones import BACKBONES, Backbone, backbones, build_backbone, freeze_encoder
from maskwright.networks.blocks import SkipSizeMismatch
from maskwright.networks.loading import MissingWeights, UnusableWeights
from maskwright.networks.resnet import (
    ResNet18,
    ResNet34,
    ResNet50,
    ResNet101,
    ResNet152,
    SEResNet18,
    SEResNet34,
    build_resnet,
)
from maskwright.networks.unet import Unet, build_unet

__all__ = [
    "BACKBONES",
    "Backbone",
    "MissingWeights",
    "ResNet18",
    "ResNet34",
    "ResNet50",
    "ResNet101",
    "ResNet152",
    "SEResNet18",
    "SEResNet34",
    "SkipSizeMismatch",
    "Unet",
    "UnusableWeights",
    "backbones",
    "build_backbone",
    "build_resnet",
    "build_unet",
    "freeze_encoder",
]
