"""EfficientNet-Lite against torch, with the names of timm."""

import keras
import numpy as np
import pytest

from maskwright.errors import InputError
from maskwright.networks import (
    BACKBONES,
    EfficientNetLite0,
    EfficientNetLite1,
    EfficientNetLite2,
    EfficientNetLite3,
    EfficientNetLite4,
    build_efficientnet_lite,
)
from maskwright.networks.efficientnet_lite import STAGES
from tests.networks.randomise import randomise
from tests.networks.timm_names import timm_state
from tests.networks.tiny import layer_outputs, noise

# Numbers of parameters, with a classifier of 1000 classes, stated by timm.
PARAMETERS = {
    EfficientNetLite0: 4_652_008,
    EfficientNetLite1: 5_416_680,
    EfficientNetLite2: 6_092_072,
    EfficientNetLite3: 8_197_096,
    EfficientNetLite4: 13_006_568,
}


def randomised(network: keras.Model) -> keras.Model:
    """Set random weights that preserve the scale of the features, also in depthwise convolutions."""
    for layer in randomise(network).layers:
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            layer.kernel.assign(layer.kernel * layer.kernel.shape[2] ** 0.5)
    return network


@pytest.fixture(scope="module")
def lite0():
    return randomised(EfficientNetLite0(include_top=True, classes=7))


def assert_equals_torch(network, images, skips):
    reference = pytest.importorskip("tests.networks.torch_efficientnet_lite", reason="torch is not installed")
    taps = (*reversed(skips), "blocks_6_0_bn3", "softmax")
    expected = reference.TimmEfficientNetLite(timm_state(network))(images)
    for name, ours, theirs in zip(taps, layer_outputs(network, images, *taps), expected, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, atol=5e-5 * theirs.std(), err_msg=name)


@pytest.mark.parametrize("size", [(64, 96), (75, 101), (33, 62)])
def test_every_stride_and_the_classifier_equal_torch(lite0, size):
    assert_equals_torch(lite0, noise(*size), BACKBONES["efficientnetlite0"].skips)


def test_wider_and_deeper_network_equals_torch():
    network = randomised(EfficientNetLite2(include_top=True, classes=5))
    assert_equals_torch(network, noise(70, 37), BACKBONES["efficientnetlite2"].skips)


@pytest.mark.parametrize("build", PARAMETERS, ids=lambda build: build.__name__)
def test_parameters_with_classifier_are_those_of_timm(build):
    network = build(include_top=True)
    assert sum(np.prod(weight.shape) for weight in network.trainable_weights) == PARAMETERS[build]
    assert network.name == build.__name__.lower()
    assert network.output_shape == (None, 1000)


@pytest.mark.parametrize(
    ("name", "channels"),
    [("efficientnetlite0", (112, 40, 24, 16)), ("efficientnetlite4", (160, 56, 32, 24))],
)
def test_skips_have_the_channels_of_timm(name, channels):
    row = BACKBONES[name]
    network = row.build(input_shape=(64, 96, 3))
    shapes = [network.get_layer(skip).output.shape[1:] for skip in row.skips]
    assert shapes == [(*size, c) for size, c in zip(((4, 6), (8, 12), (16, 24), (32, 48)), channels, strict=True)]
    assert network.count_params() == row.parameters


def test_stages_and_normalisation_are_those_of_timm(lite0):
    norms = [layer for layer in lite0.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert {norm.epsilon for norm in norms} == {1e-3}
    depthwise = [layer for layer in lite0.layers if isinstance(layer, keras.layers.DepthwiseConv2D)]
    assert [layer.name for layer in depthwise] == [
        f"blocks_{number}_{block}_conv_dw" for number, stage in enumerate(STAGES) for block in range(stage.blocks)
    ]
    assert len(depthwise) == 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0}, r"^width=0: expected a finite number above 0"),
        ({"depth": float("inf")}, r"^depth=inf: expected a finite number above 0"),
        ({"width": float("nan")}, r"^width=nan: expected a finite number above 0"),
        ({"classes": 0}, r"^classes=0: expected .*integer.* 1"),
        ({"input_shape": (64, 64)}, r"^input_shape=\(64, 64\): expected \(height, width, channels\)"),
    ],
)
def test_unusable_arguments_are_errors(arguments, message):
    with pytest.raises(InputError, match=message):
        build_efficientnet_lite(**arguments)


def test_variant_signature_has_the_remaining_arguments():
    with pytest.raises(TypeError, match="width"):
        EfficientNetLite0(width=2.0)
