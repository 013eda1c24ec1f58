"""The LinkNet's decoder: its arithmetic, the reference library's names, and what it refuses."""

import keras
import numpy as np
import pytest
from keras import layers

from maskwright.errors import UnknownChoice, WrongArgument
from maskwright.networks.blocks import SkipSizeMismatch, torch_batch_norm
from maskwright.networks.linknet import build_linknet
from tests.networks import numpy_decoders
from tests.networks.randomise import answer, difference, randomise
from tests.networks.tiny import SKIPS, WIDTHS, decoder_layers, noise, pooled_encoder, taps_of, tiny_encoder, weights_of

CASES = {
    "upsampling": (SKIPS, {}),
    "transpose, fewer skips": (SKIPS[:2], {"block_type": "transpose", "decoder_filters": (None, None, 9, 8, 7)}),
    "transpose, biased": (SKIPS, {"block_type": "transpose", "use_batchnorm": False}),
    "upsampling, biased, fewer blocks": (SKIPS[:1], {"use_batchnorm": False, "n_upsample_blocks": 1}),
}


@pytest.fixture(scope="module")
def encoder():
    return tiny_encoder(64, 96)


@pytest.mark.parametrize("case", CASES)
def test_the_logits_are_those_of_plain_numpy(encoder, case):
    names, options = CASES[case]
    network = randomise(build_linknet(encoder, 2, names, activation=None, **options), seed=3)
    images = noise(64, 96)
    end, *skips = taps_of(network, images, "end", *names)
    blocks = options.get("n_upsample_blocks", 5)
    expected = numpy_decoders.linknet(end, skips, weights_of(network), blocks=blocks)
    assert expected.shape == (2, 2 * 2**blocks, 3 * 2**blocks, 2)
    assert difference(expected, answer(network, images)) < 1e-4


def test_an_encoder_that_ends_in_a_pooling_gets_two_centre_convolutions_of_512():
    network = randomise(build_linknet(pooled_encoder(32, 64), 2, SKIPS, activation=None), seed=3)
    assert [network.get_layer(f"center_block{i}_conv").filters for i in (1, 2)] == [512, 512]
    assert network.get_layer("decoder_stage0a_conv").filters == 128
    images = noise(32, 64)
    end, *skips = taps_of(network, images, "pool", *SKIPS)
    expected = numpy_decoders.linknet(end, skips, weights_of(network), blocks=5)
    assert difference(expected, answer(network, images)) < 1e-4


@pytest.mark.parametrize("block_type", ["upsampling", "transpose"])
def test_the_layers_have_the_reference_names(encoder, block_type):
    found = decoder_layers(build_linknet(encoder, 1, SKIPS, block_type=block_type), encoder)
    middle = {
        "upsampling": [("_upsampling",), ("b_conv", "b_bn", "b_relu")],
        "transpose": [("b_transpose", "b_bn", "b_relu")],
    }
    parts = ["a_conv", "a_bn", "a_relu", *sum(middle[block_type], ()), "c_conv", "c_bn", "c_relu", "_add"]
    expected = [f"decoder_stage{level}{part}" for level in range(5) for part in parts]
    expected.remove("decoder_stage4_add")
    assert list(found) == [*expected, "final_conv", "sigmoid"]


def test_a_block_narrows_to_a_quarter_and_widens_to_its_skip_or_its_filters(encoder):
    found = decoder_layers(build_linknet(encoder, 1, SKIPS), encoder)
    filters = [[found[f"decoder_stage{level}{part}_conv"].filters for part in "abc"] for level in range(5)]
    ins = [WIDTHS["end"], *(WIDTHS[name] for name in SKIPS)]
    assert filters == [[width // 4, width // 4, out] for width, out in zip(ins, [*ins[1:], 16], strict=True)]
    kernels = {name[-6:]: layer.kernel_size for name, layer in found.items() if name.endswith("_conv")}
    assert (kernels["a_conv"], kernels["b_conv"], kernels["c_conv"]) == ((1, 1), (3, 3), (1, 1))


def test_the_layers_are_the_references(encoder):
    found = decoder_layers(build_linknet(encoder, 3, SKIPS, block_type="transpose", use_batchnorm=False), encoder)
    assert not any(isinstance(layer, layers.BatchNormalization) for layer in found.values())
    transpose = found["decoder_stage1b_transpose"]
    assert (transpose.kernel_size, transpose.strides, transpose.padding) == ((4, 4), (2, 2), "same")
    assert isinstance(transpose.kernel_initializer, keras.initializers.GlorotUniform)
    assert isinstance(found["decoder_stage1a_conv"].kernel_initializer, keras.initializers.HeUniform)
    assert {layer.use_bias for layer in found.values() if isinstance(layer, layers.Conv2D)} == {True}


def test_the_normalisation_is_a_factory(encoder):
    found = decoder_layers(build_linknet(encoder, 1, SKIPS, block_type="transpose", norm=torch_batch_norm), encoder)
    norms = [layer for layer in found.values() if isinstance(layer, layers.BatchNormalization)]
    assert len(norms) == 15
    assert {(norm.momentum, norm.epsilon) for norm in norms} == {(0.9, 1e-5)}


def test_fewer_than_four_channels_narrow_to_one(encoder):
    network = build_linknet(encoder, 1, [], decoder_filters=(3, 2), n_upsample_blocks=2)
    assert network.get_layer("decoder_stage1b_conv").filters == 1


@pytest.mark.parametrize("size", [(32, 96), (64, 32)])
def test_sizes_left_open_take_any_multiple_of_32(size):
    network = build_linknet(tiny_encoder(None, None), 2, SKIPS)
    assert network.output_shape == (None, None, None, 2)
    assert answer(network, np.zeros((1, *size, 3), "float32")).shape == (1, *size, 2)


@pytest.mark.parametrize(
    "filters", [(), 16, (None,) * 5, (None, None, None, None, 0), (None, None, None, 16), (0, None, None, None, 8)]
)
def test_every_block_without_a_skip_needs_filters(encoder, filters):
    wanted = r"an integer of at least 1 for each of the 5 decoder blocks\. It may be None for a block with a skip conn"
    with pytest.raises(WrongArgument, match=rf"^decoder_filters=.*{wanted}"):
        build_linknet(encoder, 1, SKIPS, decoder_filters=filters)


def test_a_skip_of_another_size_is_refused(encoder):
    with pytest.raises(SkipSizeMismatch, match=r"of decoder_stage0 is 32 x 48 pixels and .* map 4 x 6"):
        build_linknet(encoder, 1, SKIPS[::-1])


def test_there_is_at_least_one_block_and_at_most_one_skip_a_block(encoder):
    with pytest.raises(WrongArgument, match=r"^n_upsample_blocks=0: expected an integer of at least 1"):
        build_linknet(encoder, 1, [], n_upsample_blocks=0)
    with pytest.raises(WrongArgument, match=r"^skip_connection_layers=.*: expected at most 2 layers"):
        build_linknet(encoder, 1, SKIPS, n_upsample_blocks=2)


def test_words_are_looked_up(encoder):
    with pytest.raises(UnknownChoice, match=r"^block_type='transposed' .* Did you mean 'transpose'\?"):
        build_linknet(encoder, 1, SKIPS, block_type="transposed")


def test_a_backbone_is_a_model():
    with pytest.raises(WrongArgument, match=r"^backbone='resnet18': expected a functional or built sequential Keras"):
        build_linknet("resnet18", 1, SKIPS)


def test_a_block_without_a_skip_may_have_half_of_the_filters_before_it(encoder):
    network = build_linknet(encoder, 1, SKIPS[:3], decoder_filters=(None, None, None, None, 5))
    skip = encoder.get_layer(SKIPS[2]).output.shape[-1]
    widths = [network.get_layer(f"decoder_stage{level}c_conv").filters for level in (2, 3, 4)]
    assert widths == [skip, skip // 2, 5]
