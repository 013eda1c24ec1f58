"""The LinkNet decoder: outputs against NumPy, layer names of segmentation_models and errors."""

import keras
import numpy as np
import pytest
from keras import layers

from maskwright.errors import UnknownChoice, WrongArgument
from maskwright.networks.blocks import SkipSizeMismatch, torch_batch_norm
from maskwright.networks.linknet import build_linknet
from tests.networks import numpy_decoders
from tests.networks.randomise import difference, infer, randomise
from tests.networks.tiny import (
    SKIPS,
    WIDTHS,
    decoder_layers,
    layer_outputs,
    noise,
    pooled_encoder,
    tiny_encoder,
    weights_of,
)

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
def test_logits_equal_those_of_numpy(encoder, case):
    names, options = CASES[case]
    network = randomise(build_linknet(encoder, 2, names, activation=None, **options), seed=3)
    images = noise(64, 96)
    end, *skips = layer_outputs(network, images, "end", *names)
    blocks = options.get("n_upsample_blocks", 5)
    expected = numpy_decoders.linknet(end, skips, weights_of(network), blocks=blocks)
    assert expected.shape == (2, 2 * 2**blocks, 3 * 2**blocks, 2)
    assert difference(expected, infer(network, images)) < 1e-4


def test_encoder_that_ends_in_pooling_gets_two_centre_convolutions():
    network = randomise(build_linknet(pooled_encoder(32, 64), 2, SKIPS, activation=None), seed=3)
    assert [network.get_layer(f"center_block{i}_conv").filters for i in (1, 2)] == [512, 512]
    assert network.get_layer("decoder_stage0a_conv").filters == 128
    images = noise(32, 64)
    end, *skips = layer_outputs(network, images, "pool", *SKIPS)
    expected = numpy_decoders.linknet(end, skips, weights_of(network), blocks=5)
    assert difference(expected, infer(network, images)) < 1e-4


@pytest.mark.parametrize("block_type", ["upsampling", "transpose"])
def test_layer_names_are_those_of_segmentation_models(encoder, block_type):
    found = decoder_layers(build_linknet(encoder, 1, SKIPS, block_type=block_type), encoder)
    middle = {
        "upsampling": [("_upsampling",), ("b_conv", "b_bn", "b_relu")],
        "transpose": [("b_transpose", "b_bn", "b_relu")],
    }
    parts = ["a_conv", "a_bn", "a_relu", *sum(middle[block_type], ()), "c_conv", "c_bn", "c_relu", "_add"]
    expected = [f"decoder_stage{level}{part}" for level in range(5) for part in parts]
    expected.remove("decoder_stage4_add")
    assert list(found) == [*expected, "final_conv", "sigmoid"]


def test_block_has_a_quarter_bottleneck_and_the_channels_of_its_skip(encoder):
    found = decoder_layers(build_linknet(encoder, 1, SKIPS), encoder)
    filters = [[found[f"decoder_stage{level}{part}_conv"].filters for part in "abc"] for level in range(5)]
    ins = [WIDTHS["end"], *(WIDTHS[name] for name in SKIPS)]
    assert filters == [[width // 4, width // 4, out] for width, out in zip(ins, [*ins[1:], 16], strict=True)]
    kernels = {name[-6:]: layer.kernel_size for name, layer in found.items() if name.endswith("_conv")}
    assert (kernels["a_conv"], kernels["b_conv"], kernels["c_conv"]) == ((1, 1), (3, 3), (1, 1))


def test_layers_have_the_settings_of_segmentation_models(encoder):
    found = decoder_layers(build_linknet(encoder, 3, SKIPS, block_type="transpose", use_batchnorm=False), encoder)
    assert not any(isinstance(layer, layers.BatchNormalization) for layer in found.values())
    transpose = found["decoder_stage1b_transpose"]
    assert (transpose.kernel_size, transpose.strides, transpose.padding) == ((4, 4), (2, 2), "same")
    assert isinstance(transpose.kernel_initializer, keras.initializers.GlorotUniform)
    assert isinstance(found["decoder_stage1a_conv"].kernel_initializer, keras.initializers.HeUniform)
    assert {layer.use_bias for layer in found.values() if isinstance(layer, layers.Conv2D)} == {True}


def test_normalisation_comes_from_the_factory(encoder):
    found = decoder_layers(build_linknet(encoder, 1, SKIPS, block_type="transpose", norm=torch_batch_norm), encoder)
    norms = [layer for layer in found.values() if isinstance(layer, layers.BatchNormalization)]
    assert len(norms) == 15
    assert {(norm.momentum, norm.epsilon) for norm in norms} == {(0.9, 1e-5)}


def test_bottleneck_of_fewer_than_four_channels_has_one(encoder):
    network = build_linknet(encoder, 1, [], decoder_filters=(3, 2), n_upsample_blocks=2)
    assert network.get_layer("decoder_stage1b_conv").filters == 1


@pytest.mark.parametrize("size", [(32, 96), (64, 32)])
def test_variable_sizes_accept_any_multiple_of_32(size):
    network = build_linknet(tiny_encoder(None, None), 2, SKIPS)
    assert network.output_shape == (None, None, None, 2)
    assert infer(network, np.zeros((1, *size, 3), "float32")).shape == (1, *size, 2)


@pytest.mark.parametrize(
    "filters", [(), 16, (None,) * 5, (None, None, None, None, 0), (None, None, None, 16), (0, None, None, None, 8)]
)
def test_missing_filters_of_a_block_without_a_skip_are_an_error(encoder, filters):
    expected = r"integer .* 1 .* 5 decoder blocks\. None "
    with pytest.raises(WrongArgument, match=rf"^decoder_filters=.*{expected}"):
        build_linknet(encoder, 1, SKIPS, decoder_filters=filters)


def test_skip_of_the_wrong_size_is_an_error(encoder):
    with pytest.raises(SkipSizeMismatch, match=r"decoder_stage0 .*32 x 48 .* 4 x 6"):
        build_linknet(encoder, 1, SKIPS[::-1])


def test_no_block_or_more_skips_than_blocks_is_an_error(encoder):
    with pytest.raises(WrongArgument, match=r"^n_upsample_blocks=0: expected .*integer.* 1"):
        build_linknet(encoder, 1, [], n_upsample_blocks=0)
    with pytest.raises(WrongArgument, match=r"^skip_connection_layers=.*: expected at most 2 "):
        build_linknet(encoder, 1, SKIPS, n_upsample_blocks=2)


def test_unknown_block_type_suggests_the_nearest(encoder):
    with pytest.raises(UnknownChoice, match=r"^block_type='transposed' .* 'transpose'\?"):
        build_linknet(encoder, 1, SKIPS, block_type="transposed")


def test_backbone_that_is_not_a_model_is_an_error():
    with pytest.raises(WrongArgument, match=r"^backbone='resnet18': expected .*Keras model"):
        build_linknet("resnet18", 1, SKIPS)


def test_none_gives_half_of_the_previous_filters(encoder):
    network = build_linknet(encoder, 1, SKIPS[:3], decoder_filters=(None, None, None, None, 5))
    skip = encoder.get_layer(SKIPS[2]).output.shape[-1]
    widths = [network.get_layer(f"decoder_stage{level}c_conv").filters for level in (2, 3, 4)]
    assert widths == [skip, skip // 2, 5]
