"""The FPN of segmentation_models_pytorch: outputs against torch, layers and errors."""

import pytest
from keras import layers

from maskwright.errors import UnknownChoice, WrongArgument
from maskwright.networks.blocks import SkipSizeMismatch
from maskwright.networks.smp_fpn import build_smp_fpn
from tests.networks.randomise import difference, infer, randomise
from tests.networks.tiny import SKIPS, decoder_layers, noise, tiny_encoder

SMALL = {"pyramid_channels": 8, "segmentation_channels": 32}


@pytest.fixture(scope="module")
def encoder():
    return tiny_encoder(64, 96)


@pytest.mark.parametrize(
    ("merge_policy", "segmentation_channels"), [("add", 32), ("cat", 32), ("add", 64)]
)  # groups of one channel and of two
def test_logits_equal_those_of_torch(encoder, merge_policy, segmentation_channels):
    from tests.networks.torch_decoders import Reference

    options = {"merge_policy": merge_policy, "segmentation_channels": segmentation_channels}
    network = build_smp_fpn(encoder, 2, SKIPS[:3], pyramid_channels=8, activation=None, **options)
    images = noise(64, 96)
    expected = Reference(randomise(network, seed=3), images, "end", *SKIPS[:3]).fpn(add=merge_policy == "add")
    assert expected.shape == (2, 64, 96, 2)
    assert difference(expected, infer(network, images)) < 1e-4


def test_defaults_are_those_of_segmentation_models_pytorch(encoder):
    found = decoder_layers(build_smp_fpn(encoder, 1, SKIPS[:3]), encoder)
    assert found["decoder_p5"].filters == 256
    assert found["decoder_seg_blocks_0_block_2_conv"].filters == 128
    norms = {(layer.groups, layer.epsilon) for name, layer in found.items() if name.endswith("_bn")}
    assert norms == {(32, 1e-5)}
    dropout = found["decoder_dropout"]
    assert (type(dropout), dropout.rate) == (layers.SpatialDropout2D, 0.2)
    assert isinstance(found["decoder_merge"], layers.Add)


def test_dropout_of_0_adds_no_layer(encoder):
    found = decoder_layers(build_smp_fpn(encoder, 1, SKIPS[:3], dropout=0.0, **SMALL), encoder)
    assert "decoder_dropout" not in found


def test_final_upsampling_has_the_given_factor(encoder):
    assert build_smp_fpn(encoder, 1, SKIPS[:3], upsampling=2, **SMALL).output_shape == (None, 32, 48, 1)


@pytest.mark.parametrize(("count", "expected"), [(2, "expected three layers"), (4, "expected at most 3 layers")])
def test_number_of_skips_other_than_three_is_an_error(encoder, count, expected):
    with pytest.raises(WrongArgument, match=f"skip_connection_layers=.*: {expected}"):
        build_smp_fpn(encoder, 1, SKIPS[:count], **SMALL)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"segmentation_channels": 48}, "segmentation_channels=48: expected .*multiple of 32"),
        ({"pyramid_channels": 0}, "pyramid_channels=0: expected .*integer.* 1"),
        ({"dropout": 1.0}, "dropout=1.0: expected .* 0 .* 1"),
        ({"upsampling": 0}, "factor=0: expected .*integer.* 1"),
    ],
)
def test_number_out_of_range_is_an_error(encoder, options, text):
    with pytest.raises(WrongArgument, match=text):
        build_smp_fpn(encoder, 1, SKIPS[:3], **options)


def test_unknown_merge_policy_is_an_error(encoder):
    with pytest.raises(UnknownChoice, match=r"merge_policy='sum' .*one of add, cat"):
        build_smp_fpn(encoder, 1, SKIPS[:3], merge_policy="sum")


def test_skips_in_the_wrong_order_are_an_error(encoder):
    with pytest.raises(SkipSizeMismatch, match=r"decoder_p4 .*16 x 24 pixels"):
        build_smp_fpn(encoder, 1, SKIPS[2::-1], **SMALL)
