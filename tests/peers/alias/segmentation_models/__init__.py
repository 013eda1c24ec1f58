"""This library under the reference library's name, so that the reference's own test files run against it.

Put this folder's parent first on PYTHONPATH and give pytest the reference's `tests` folder; see CONTRIBUTING.md.
Published weights are asked for by those tests; without a network, MASKWRIGHT_OFFLINE=1 leaves encoders random.
"""

import os
from functools import wraps

import keras

import maskwright as mw
from maskwright.networks.backbones import BACKBONES

_KERAS_FRAMEWORK_NAME, _TF_KERAS_FRAMEWORK_NAME = "keras", "tf.keras"

# Keras 3 has no `backend.eval`; the tests call it to get a number.
keras.backend.eval = keras.ops.convert_to_numpy


def framework():
    return _KERAS_FRAMEWORK_NAME


def get_available_backbone_names():
    reference_has = (
        *("vgg16", "vgg19", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50", "resnext101"),
        *("inceptionv3", "inceptionresnetv2", "densenet121", "densenet169", "densenet201"),
        *("seresnet18", "seresnet34", "seresnet50", "seresnet101", "seresnet152"),
        *("seresnext50", "seresnext101", "senet154", "mobilenet", "mobilenetv2"),
        *(f"efficientnetb{size}" for size in range(8)),
    )
    missing = set(reference_has) - set(BACKBONES)
    if missing:
        raise LookupError(f"the reference library has encoders that this one lacks: {missing}")
    return list(reference_has)


def _offline(door):
    @wraps(door)
    def build(*args, encoder_weights="imagenet", **kwargs):
        if os.environ.get("MASKWRIGHT_OFFLINE"):
            encoder_weights = None
        return door(*args, encoder_weights=encoder_weights, **kwargs)

    return build


Unet, FPN, Linknet = map(_offline, (mw.Unet, mw.FPN, mw.Linknet))


def PSPNet(backbone_name, input_shape=(384, 384, 3), **kwargs):
    return _offline(mw.PSPNet)(backbone_name, input_shape=input_shape, **kwargs)
