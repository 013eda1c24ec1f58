"""Post-activation ResNets against torch, with the names of torchvision."""

import keras
import numpy as np
import pytest

from maskwright.errors import InputError
from maskwright.networks.resnet_v1 import RESNET_V1_SKIPS, ResNet18V1, build_resnet_v1
from tests.networks.randomise import randomise
from tests.networks.tiny import layer_outputs, noise

PARTS = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def state_of(network: keras.Model) -> dict[str, np.ndarray]:
    """The weights by torch's names and in its layout: the rule of the module's first lines."""
    state = {}
    for layer in network.layers:
        for weight in layer.weights:
            values = keras.ops.convert_to_numpy(weight)
            values = values.transpose(3, 2, 0, 1) if values.ndim == 4 else values
            state[f"{layer.name.replace('_', '.')}.{PARTS[weight.name]}"] = values
    return state


@pytest.mark.parametrize(
    ("options", "last_stage"),
    [
        ({"units": (2, 1, 1, 2), "block": "basic"}, {"stride": 2, "dilation": 1}),
        ({"units": (1, 2, 1, 2), "block": "bottleneck", "output_stride": 16}, {"stride": 1, "dilation": 2}),
    ],
    ids=["basic", "bottleneck, dilated"],
)
def test_every_stage_equals_torch_for_even_and_odd_sizes(options, last_stage):
    torch_residual = pytest.importorskip("tests.networks.torch_residual", reason="torch is not installed")
    network = randomise(build_resnet_v1(**options))
    reference = torch_residual.TorchvisionResNet(state_of(network), last_stage=last_stage)
    images = noise(75, 101)
    taps = layer_outputs(network, images, "relu", "layer1", "layer2", "layer3", "layer4")
    for ours, theirs in zip(taps, reference(images), strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, atol=2e-5 * theirs.std())


def test_resnet18_has_the_tensors_and_parameters_of_torchvision():
    network = ResNet18V1(include_top=True, input_shape=(None, None, 3))
    unit = [f"{part}{number}" for number in (1, 2) for part in ("conv", "bn")]
    units = [f"layer{stage}.{number}.{part}" for stage in (1, 2, 3, 4) for number in (0, 1) for part in unit]
    projections = [f"layer{stage}.0.downsample.{part}" for stage in (2, 3, 4) for part in (0, 1)]
    modules = {layer.name.replace("_", ".") for layer in network.layers if layer.weights}
    assert modules == {"conv1", "bn1", "fc", *units, *projections}
    assert sum(np.prod(weight.shape) for weight in network.trainable_weights) == 11_689_512
    assert (network.name, network.output_shape) == ("resnet18_v1", (None, 1000))


def test_normalisation_is_that_of_torch_and_skips_halve():
    network = build_resnet_v1(units=(1, 1, 1, 1), input_shape=(64, 96, 1), output_stride=16)
    norms = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert {(norm.momentum, norm.epsilon) for norm in norms} == {(0.9, 1e-5)}
    sizes = [network.get_layer(name).output.shape[1:3] for name in RESNET_V1_SKIPS]
    assert sizes == [(4, 6), (8, 12), (16, 24), (32, 48)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"output_stride": 8}, r"output_stride=8: expected 32 or 16"),
        ({"block": "botleneck"}, r"block='botleneck' .*'bottleneck'\?"),
        ({"units": (1, 1, 1)}, r"units=\(1, 1, 1\): expected four integers .* 1"),
        ({"units": (1, 0, 1, 1)}, r"units=\(1, 0, 1, 1\): expected four integers .* 1"),
        ({"classes": 0}, r"classes=0: expected .*integer.* 1"),
        ({"input_shape": (64, 64)}, r"input_shape=\(64, 64\): expected \(height, width, channels\)"),
    ],
)
def test_unusable_arguments_are_errors(arguments, message):
    with pytest.raises(InputError, match=message):
        build_resnet_v1(**{"units": (1, 1, 1, 1), **arguments})


def test_variant_signature_has_the_remaining_arguments():
    with pytest.raises(TypeError, match="units"):
        ResNet18V1(units=(1, 1, 1, 1))
    assert ResNet18V1.__name__ == "ResNet18V1"
    assert "units=(2, 2, 2, 2)" in ResNet18V1.__doc__
