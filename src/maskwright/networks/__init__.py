"""Segmentation networks and encoders, built as functional Keras models."""

from maskwright.networks.auxiliary_outputs import mask_only
from maskwright.networks.backbones import (
    BACKBONES,
    Backbone,
    Encoder,
    backbones,
    build_backbone,
    encoder_of,
    freeze_encoder,
    get_preprocessing,
)
from maskwright.networks.blocks import SkipSizeMismatch, batch_norm, torch_batch_norm
from maskwright.networks.deeplabv3plus import build_deeplabv3plus
from maskwright.networks.efficientnet_lite import (
    EfficientNetLite0,
    EfficientNetLite1,
    EfficientNetLite2,
    EfficientNetLite3,
    EfficientNetLite4,
    build_efficientnet_lite,
)
from maskwright.networks.fpn import build_fpn
from maskwright.networks.linknet import build_linknet
from maskwright.networks.pspnet import build_pspnet
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
from maskwright.networks.resnet_v1 import (
    ResNet18V1,
    ResNet34V1,
    ResNet50V1,
    ResNet101V1,
    ResNet152V1,
    build_resnet_v1,
)
from maskwright.networks.smp_fpn import build_smp_fpn
from maskwright.networks.smp_linknet import build_smp_linknet
from maskwright.networks.unet import build_unet
from maskwright.networks.unetplusplus import build_unetplusplus

__all__ = [
    "BACKBONES",
    "Backbone",
    "EfficientNetLite0",
    "EfficientNetLite1",
    "EfficientNetLite2",
    "EfficientNetLite3",
    "EfficientNetLite4",
    "Encoder",
    "ResNet18",
    "ResNet18V1",
    "ResNet34",
    "ResNet34V1",
    "ResNet50",
    "ResNet50V1",
    "ResNet101",
    "ResNet101V1",
    "ResNet152",
    "ResNet152V1",
    "SEResNet18",
    "SEResNet34",
    "SkipSizeMismatch",
    "backbones",
    "batch_norm",
    "build_backbone",
    "build_deeplabv3plus",
    "build_efficientnet_lite",
    "build_fpn",
    "build_linknet",
    "build_pspnet",
    "build_resnet",
    "build_resnet_v1",
    "build_smp_fpn",
    "build_smp_linknet",
    "build_unet",
    "build_unetplusplus",
    "encoder_of",
    "freeze_encoder",
    "get_preprocessing",
    "mask_only",
    "torch_batch_norm",
]
