"""Squeeze-and-excitation networks against torch and image-classifiers 1.0.0."""

import keras
import numpy as np
import pytest

from maskwright.errors import InputError
from maskwright.networks.senet import SENET_SKIPS, build_senet
from tests.networks.randomise import randomise
from tests.networks.tiny import layer_outputs, noise, weights_of

ENDS = tuple(f"stage{stage}_relu" for stage in (1, 2, 3, 4))


@pytest.mark.parametrize(
    ("family", "groups", "strided"),
    [("resnet", 1, 1), ("resnext", 32, 2), ("senet", 64, 2)],
)
def test_every_stage_equals_torch_for_even_and_odd_sizes(family, groups, strided):
    torch_residual = pytest.importorskip("tests.networks.torch_residual", reason="torch is not installed")
    network, images = randomise(build_senet(units=(2, 1, 1, 1), family=family)), noise(37, 66)
    reference = torch_residual.Bottlenecks(
        weights_of(network), epsilon=1e-5, groups=groups, strided=strided, squeeze=True
    )
    x = torch_residual.to_torch(images)
    for number in (1, 2, 3) if family == "senet" else (1,):
        x = reference.conv(x, f"stem_conv{number}", stride=2 if number == 1 else 1)
        x = torch_residual.nn.relu(reference.bn(x, f"stem_bn{number}"))
    expected = [torch_residual.to_numpy(tap) for tap in (x, *reference.stages(x))]
    for ours, theirs in zip(layer_outputs(network, images, "stem_relu", *ENDS), expected, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, atol=2e-5 * theirs.std())


# Parameters of image-classifiers' networks with these units and five classes.
@pytest.mark.parametrize(
    ("family", "parameters"), [("resnet", 9_140_453), ("resnext", 8_495_333), ("senet", 33_602_021)]
)
def test_parameter_count_with_top_is_that_of_image_classifiers(family, parameters):
    network = build_senet(units=(2, 2, 1, 1), family=family, include_top=True, classes=5)
    assert (network.count_params(), network.output_shape) == (parameters, (None, 5))
    dropouts = [layer.rate for layer in network.layers if isinstance(layer, keras.layers.Dropout)]
    assert dropouts == ([0.2] if family == "senet" else [])


def test_strided_projection_of_senet154_is_3x3():
    network = build_senet(units=(1, 1, 1, 1), family="senet")
    sizes = [network.get_layer(f"stage{stage}_unit1_sc").kernel_size for stage in (1, 2, 3, 4)]
    assert sizes == [(1, 1), (3, 3), (3, 3), (3, 3)]


def test_skips_are_stage_outputs_with_the_reference_normalisation():
    network = build_senet(units=(1, 2, 1, 1), input_shape=(64, 96, 4))
    assert [network.get_layer(name).output.shape[1:] for name in SENET_SKIPS] == [
        (4, 6, 1024),
        (8, 12, 512),
        (16, 24, 256),
        (32, 48, 64),
    ]
    norm = network.get_layer("stage2_unit2_bn2")
    assert (np.float32(norm.epsilon), norm.momentum) == (np.float32(9.999999747378752e-06), 0.99)


def test_unusable_arguments_are_errors():
    with pytest.raises(InputError, match=r"family='resnest' .*'resnet'\?"):
        build_senet(units=(1, 1, 1, 1), family="resnest")
