"""The LinkNet of segmentation_models_pytorch: outputs against torch, layers and errors."""

import pytest
from keras import layers

from maskwright.errors import WrongArgument
from maskwright.networks.blocks import SkipSizeMismatch
from maskwright.networks.smp_linknet import build_smp_linknet
from tests.networks.randomise import difference, infer, randomise
from tests.networks.tiny import SKIPS, WIDTHS, decoder_layers, noise, tiny_encoder


@pytest.fixture(scope="module")
def encoder():
    return tiny_encoder(64, 96)


@pytest.mark.parametrize(
    ("names", "blocks", "use_batchnorm"),
    [(SKIPS, 5, True), (SKIPS, 5, False), (SKIPS[:2], 3, True), (SKIPS[:1], 1, True)],
    ids=["four skips", "without normalisation", "two skips", "as many skips as blocks"],
)
def test_logits_equal_those_of_torch(encoder, names, blocks, use_batchnorm):
    from tests.networks.torch_decoders import Reference

    network = build_smp_linknet(
        encoder, 2, names, n_upsample_blocks=blocks, activation=None, use_batchnorm=use_batchnorm
    )
    images = noise(64, 96)
    expected = Reference(randomise(network, seed=3), images, "end", *names).linknet(blocks=blocks)
    assert expected.shape == (2, 2 * 2**blocks, 3 * 2**blocks, 2)
    assert difference(expected, infer(network, images)) < 1e-4


def test_block_has_the_channels_of_its_skip_or_32(encoder):
    found = decoder_layers(build_smp_linknet(encoder, 1, SKIPS[:3]), encoder)
    widths = [found[f"decoder_stage{stage}c_conv"].filters for stage in range(5)]
    assert widths == [*(WIDTHS[name] for name in SKIPS[:3]), 32, 32]
    assert found["decoder_stage4a_conv"].filters == 32 // 4
    assert build_smp_linknet(encoder, 1, SKIPS, prefinal_channels=7).get_layer("decoder_stage4c_conv").filters == 7


def test_transposed_convolution_has_a_bias_and_normalisation(encoder):
    found = decoder_layers(build_smp_linknet(encoder, 1, SKIPS), encoder)
    transposed = [layer for layer in found.values() if isinstance(layer, layers.Conv2DTranspose)]
    assert [(layer.use_bias, layer.kernel_size, layer.strides) for layer in transposed] == [(True, (4, 4), (2, 2))] * 5
    assert not any(layer.use_bias for name, layer in found.items() if name.endswith(("a_conv", "c_conv")))
    norms = {(layer.epsilon, layer.momentum) for name, layer in found.items() if name.endswith("_bn")}
    assert norms == {(1e-5, 0.9)}


@pytest.mark.parametrize("argument", ["n_upsample_blocks", "prefinal_channels"])
def test_count_that_is_not_a_positive_integer_is_an_error(encoder, argument):
    with pytest.raises(WrongArgument, match=rf"{argument}=0: expected .*integer.* 1"):
        build_smp_linknet(encoder, 1, SKIPS, **{argument: 0})


def test_more_skips_than_blocks_are_an_error(encoder):
    with pytest.raises(WrongArgument, match=r"skip_connection_layers=.*: expected at most 3 "):
        build_smp_linknet(encoder, 1, SKIPS, n_upsample_blocks=3)


def test_skips_in_the_wrong_order_are_an_error(encoder):
    with pytest.raises(SkipSizeMismatch, match=r"decoder_stage0 .*32 x 48 pixels"):
        build_smp_linknet(encoder, 1, SKIPS[::-1])
