"""Every kind of unit and block against a forward pass that shares nothing with Keras."""

from typing import Any

import numpy as np
import pytest

from maskwright.networks import build_resnet, build_unet
from maskwright.networks.backbones import BACKBONES
from tests.networks import numpy_unet
from tests.networks.randomise import answer, difference, randomise

UNITS = (2, 1, 1, 2)
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "identity": ({"first_unit": "identity"}, {}),
    "projection, squeezed": ({"first_unit": "projection", "squeeze_excitation": True}, {"use_batchnorm": False}),
    "bottleneck": ({"block": "bottleneck"}, {"block_type": "transpose"}),
    "transpose with bias": ({}, {"block_type": "transpose", "use_batchnorm": False}),
}


@pytest.mark.parametrize("case", CASES)
def test_the_logits_are_those_of_plain_numpy(case):
    encoder_options, decoder_options = CASES[case]
    encoder = build_resnet(units=UNITS, include_top=False, input_shape=(64, 96, 3), **encoder_options)
    filters = (24, 20, 16, 12, 8)
    skips = BACKBONES["resnet18"].skips
    network = randomise(build_unet(encoder, 2, skips, filters, activation="linear", **decoder_options), seed=3)
    images = np.random.default_rng(4).normal(size=(2, 64, 96, 3)).astype("float32")

    weights = {
        f"{layer.name}/{weight.name}": weight.numpy().astype("float64")
        for layer in network.layers
        for weight in layer.weights
    }
    expected = numpy_unet.unet(images.astype("float64"), weights, UNITS)
    assert expected.shape == (2, 64, 96, 2)
    assert difference(expected, answer(network, images)) < 1e-4
