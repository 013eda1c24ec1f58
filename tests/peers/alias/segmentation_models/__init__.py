"""Maskwright under the name `segmentation_models`, to run the tests of that library against it.

Put the parent of this folder first on PYTHONPATH and pass the `tests` folder of `segmentation_models` to pytest; see
CONTRIBUTING.md. Those tests download published weights. MASKWRIGHT_OFFLINE=1 uses random weights instead.
"""

import os
from functools import wraps

import keras

import maskwright as mw
from maskwright.networks.backbones import BACKBONES

_KERAS_FRAMEWORK_NAME, _TF_KERAS_FRAMEWORK_NAME = "keras", "tf.keras"

# The tests call `keras.backend.eval` to get a number; Keras 3 does not have it.
keras.backend.eval = keras.ops.convert_to_numpy


def framework():
    return _KERAS_FRAMEWORK_NAME


def get_available_backbone_names():
    names = (
        *("vgg16", "vgg19", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50", "resnext101"),
        *("inceptionv3", "inceptionresnetv2", "densenet121", "densenet169", "densenet201"),
        *("seresnet18", "seresnet34", "seresnet50", "seresnet101", "seresnet152"),
        *("seresnext50", "seresnext101", "senet154", "mobilenet", "mobilenetv2"),
        *(f"efficientnetb{size}" for size in range(8)),
    )
    missing = set(names) - set(BACKBONES)
    if missing:
        raise LookupError(f"Maskwright lacks encoders of segmentation_models: {missing}")
    return list(names)


def _with_offline_option(function):
    @wraps(function)
    def build(*args, encoder_weights="imagenet", **kwargs):
        if os.environ.get("MASKWRIGHT_OFFLINE"):
            encoder_weights = None
        return function(*args, encoder_weights=encoder_weights, **kwargs)

    return build


Unet, FPN, Linknet = map(_with_offline_option, (mw.Unet, mw.FPN, mw.Linknet))


def PSPNet(backbone_name, input_shape=(384, 384, 3), **kwargs):
    return _with_offline_option(mw.PSPNet)(backbone_name, input_shape=input_shape, **kwargs)
