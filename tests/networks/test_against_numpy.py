"""Every kind of unit and block against a forward pass in NumPy."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from maskwright.networks import build_resnet, build_unet
from maskwright.networks.backbones import BACKBONES
from tests.networks import numpy_unet
from tests.networks.randomise import difference, infer, randomise

UNITS = (2, 1, 1, 2)
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "identity": ({"first_unit": "identity"}, {}),
    "projection, squeezed": ({"first_unit": "projection", "squeeze_excitation": True}, {"use_batchnorm": False}),
    "bottleneck": ({"block": "bottleneck"}, {"block_type": "transpose"}),
    "transpose with bias": ({}, {"block_type": "transpose", "use_batchnorm": False}),
}


def weights_of(network: keras.Model) -> dict[str, np.ndarray]:
    return {
        f"{layer.name}/{weight.name}": keras.ops.convert_to_numpy(weight).astype("float64")
        for layer in network.layers
        for weight in layer.weights
    }


@pytest.mark.parametrize("case", CASES)
def test_logits_equal_those_of_numpy(case):
    encoder_options, decoder_options = CASES[case]
    encoder = build_resnet(units=UNITS, include_top=False, input_shape=(64, 96, 3), **encoder_options)
    filters = (24, 20, 16, 12, 8)
    skips = BACKBONES["resnet18"].skips
    network = randomise(build_unet(encoder, 2, skips, filters, activation="linear", **decoder_options), seed=3)
    images = np.random.default_rng(4).normal(size=(2, 64, 96, 3)).astype("float32")

    expected = numpy_unet.unet(images.astype("float64"), weights_of(network), UNITS)
    assert expected.shape == (2, 64, 96, 2)
    assert difference(expected, infer(network, images)) < 1e-4


@pytest.mark.parametrize("block_type", ["upsampling", "transpose"])
def test_sequential_backbone_with_other_strides_has_output_of_full_size(block_type):
    same = {"kernel_size": 3, "padding": "same", "activation": "relu"}
    backbone = keras.Sequential(
        [
            keras.Input((24, 36, 3)),
            layers.Conv2D(4, name="fine", **same),
            layers.MaxPooling2D(3),
            layers.Conv2D(5, name="middle", **same),
            layers.MaxPooling2D(4),
            layers.Conv2D(6, name="deep", **same),
        ]
    )
    rates = (4, 3)
    network = build_unet(backbone, 2, ["middle", "fine"], (8, 7), rates, 2, block_type, activation=None)
    randomise(network, seed=6)
    images = np.random.default_rng(7).normal(size=(2, 24, 36, 3)).astype("float32")

    taps = keras.Model(backbone.inputs[0], [backbone.get_layer(name).output for name in ("deep", "middle", "fine")])
    deep, *skips = (keras.ops.convert_to_numpy(tap).astype("float64") for tap in taps(images, training=False))
    expected = numpy_unet.decoder(deep, skips, weights_of(network), rates)
    assert expected.shape == (2, 24, 36, 2)
    assert difference(expected, infer(network, images)) < 1e-4
