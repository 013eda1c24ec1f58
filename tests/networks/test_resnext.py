"""ResNeXts against torch, with the names of image-classifiers 1.0.0."""

import numpy as np
import pytest

from maskwright.errors import InputError
from maskwright.networks.resnext import RESNEXT_SKIPS, build_resnext
from tests.networks.randomise import randomise
from tests.networks.tiny import layer_outputs, noise, weights_of

ENDS = ("stage1_unit2_relu", "stage2_unit1_relu", "stage3_unit1_relu", "stage4_unit1_relu")


def test_every_stage_equals_torch_for_even_and_odd_sizes():
    torch_residual = pytest.importorskip("tests.networks.torch_residual", reason="torch is not installed")
    network, images = randomise(build_resnext(units=(2, 1, 1, 1))), noise(45, 70)
    reference = torch_residual.Bottlenecks(weights_of(network), epsilon=2e-5, groups=32, strided=2, squeeze=False)
    x = reference.bn(torch_residual.to_torch(images), "bn_data")
    stem = torch_residual.nn.relu(reference.bn(reference.conv(x, "conv0", stride=2), "bn0"))
    expected = [torch_residual.to_numpy(tap) for tap in (stem, *reference.stages(stem))]
    for ours, theirs in zip(layer_outputs(network, images, "relu0", *ENDS), expected, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, atol=2e-5 * theirs.std())


def test_layer_names_are_those_of_image_classifiers():
    network = build_resnext(units=(1, 1, 1, 2), include_top=True, classes=7, input_shape=(64, 96, 3))
    unit = ["conv1", "bn1", "conv2", "bn2", "conv3", "bn3"]
    expected = ["bn_data", "conv0", "bn0"]
    expected += [f"stage{stage}_unit1_{part}" for stage in (1, 2, 3, 4) for part in (*unit, "sc", "sc_bn")]
    expected += [*(f"stage4_unit2_{part}" for part in unit), "fc1"]
    assert {layer.name for layer in network.layers if layer.weights} == set(expected)
    assert network.output_shape == (None, 7)
    assert [network.get_layer(name).output.shape[1:] for name in RESNEXT_SKIPS] == [
        (4, 6, 1024),
        (8, 12, 512),
        (16, 24, 256),
        (32, 48, 64),
    ]
    norm = network.get_layer("stage1_unit1_sc_bn")
    assert (norm.epsilon, norm.momentum, network.get_layer("bn_data").scale) == (2e-5, 0.99, False)


def test_grouped_kernel_has_the_glorot_bound_of_one_group():
    kernel = np.asarray(build_resnext(units=(1, 1, 1, 1)).get_layer("stage2_unit1_conv2").kernel)
    assert kernel.shape == (3, 3, 8, 256)
    limit = np.sqrt(6 / (9 * 8 + 9 * 8))  # inputs and outputs of one group
    assert 0.99 * limit < abs(kernel).max() <= limit


def test_unusable_arguments_are_errors():
    with pytest.raises(InputError, match=r"units=\(3, 4\): expected four integers .* 1"):
        build_resnext(units=(3, 4))
