"""The FPN decoder: outputs against NumPy, layer names of segmentation_models and errors."""

import keras
import pytest
from keras import layers

from maskwright.errors import UnknownChoice, WrongArgument
from maskwright.networks.blocks import SkipSizeMismatch, torch_batch_norm
from maskwright.networks.fpn import build_fpn
from tests.networks import numpy_decoders
from tests.networks.randomise import difference, infer, randomise
from tests.networks.tiny import SKIPS, decoder_layers, layer_outputs, noise, tiny_encoder, weights_of

CASES = {
    "sum": {"pyramid_block_filters": 16, "segmentation_filters": 9},
    "concat, biased": {"pyramid_block_filters": 8, "pyramid_aggregation": "concat", "use_batchnorm": False},
    "an end as deep as the pyramid": {"pyramid_block_filters": 20, "dropout": 0.5},
}


@pytest.fixture(scope="module")
def encoder():
    return tiny_encoder(64, 96)


@pytest.mark.parametrize("case", CASES)
def test_logits_equal_those_of_numpy(encoder, case):
    options = CASES[case]
    network = randomise(build_fpn(encoder, 2, SKIPS, activation=None, **options), seed=3)
    images = noise(64, 96)
    end, *skips = layer_outputs(network, images, "end", *SKIPS)
    add = options.get("pyramid_aggregation") != "concat"
    expected = numpy_decoders.fpn(end, skips, weights_of(network), add=add)
    assert expected.shape == (2, 64, 96, 2)
    assert difference(expected, infer(network, images)) < 1e-4


def test_layer_names_are_those_of_segmentation_models(encoder):
    network = build_fpn(encoder, 1, SKIPS, pyramid_aggregation="concat", dropout=0.1)
    stages = (5, 4, 3, 2)
    expected = {f"fpn_stage_p{stage}_{part}" for stage in stages for part in ("conv", "upsampling", "add")}
    expected |= {f"segm_stage{s}{half}_{part}" for s in stages for half in "ab" for part in ("conv", "bn", "relu")}
    expected |= {f"upsampling_stage{stage}" for stage in stages[:-1]} | {"fpn_stage_p5_pre_conv"}
    expected |= {"aggregation_concat", "pyramid_dropout", "final_stage_conv", "final_stage_bn", "final_stage_relu"}
    assert set(decoder_layers(network, encoder)) == expected | {"final_upsampling", "head_conv", "sigmoid"}


def test_layers_have_the_settings_of_segmentation_models(encoder):
    network = build_fpn(encoder, 3, SKIPS, pyramid_aggregation="sum", use_batchnorm=False)
    found = decoder_layers(network, encoder)
    assert not any(isinstance(layer, layers.BatchNormalization | layers.SpatialDropout2D) for layer in found.values())
    convs = {name: layer for name, layer in found.items() if isinstance(layer, layers.Conv2D)}
    assert all(conv.use_bias for conv in convs.values())
    head = convs.pop("head_conv")
    assert (head.filters, head.kernel_size) == (3, (3, 3))
    assert isinstance(head.kernel_initializer, keras.initializers.GlorotUniform)
    assert {type(conv.kernel_initializer) for conv in convs.values()} == {keras.initializers.HeUniform}
    sizes = {name: (conv.filters, conv.kernel_size) for name, conv in convs.items()}
    assert {sizes[name] for name in sizes if name.startswith("fpn_")} == {(256, (1, 1))}
    assert {sizes[name] for name in sizes if name.startswith(("segm_", "final_"))} == {(128, (3, 3))}
    assert isinstance(found["aggregation_sum"], layers.Add)


def test_dropout_drops_whole_channels_of_the_merged_pyramid(encoder):
    drop = build_fpn(encoder, 1, SKIPS, dropout=0.25).get_layer("pyramid_dropout")
    assert (type(drop), drop.rate) == (layers.SpatialDropout2D, 0.25)


def test_normalisation_comes_from_the_factory(encoder):
    norm = build_fpn(encoder, 1, SKIPS, norm=torch_batch_norm).get_layer("segm_stage3a_bn")
    assert (norm.momentum, norm.epsilon) == (0.9, 1e-5)


def test_variable_sizes_accept_any_multiple_of_32():
    network = build_fpn(tiny_encoder(None, None), 2, SKIPS, pyramid_block_filters=8)
    assert network.output_shape == (None, None, None, 2)
    for size in ((32, 96), (64, 32)):
        assert infer(network, noise(*size)).shape == (2, *size, 2)


def test_pyramid_with_three_skips_ends_at_stride_4(encoder):
    network = randomise(build_fpn(encoder, 2, SKIPS[:3], activation=None, pyramid_block_filters=16), seed=4)
    images = noise(64, 96)
    end, *skips = layer_outputs(network, images, "end", *SKIPS[:3])
    expected = numpy_decoders.fpn(end, skips, weights_of(network), add=True)
    assert expected.shape == (2, 64, 96, 2)
    assert difference(expected, infer(network, images)) < 1e-4


def test_number_of_skips_other_than_three_or_four_is_an_error(encoder):
    with pytest.raises(WrongArgument, match=r"^skip_connection_layers=\['sixteenth'\]: expected three or four"):
        build_fpn(encoder, 1, ["sixteenth"])
    with pytest.raises(WrongArgument, match=r"^skip_connection_layers=.*: expected at most 4 "):
        build_fpn(encoder, 1, [*SKIPS, "half"])


def test_skip_of_the_wrong_size_is_an_error(encoder):
    with pytest.raises(SkipSizeMismatch, match=r"fpn_stage_p5 .*32 x 48 .* 4 x 6"):
        build_fpn(encoder, 1, SKIPS[::-1])


@pytest.mark.parametrize("argument", ["pyramid_block_filters", "segmentation_filters"])
def test_filter_count_of_0_is_an_error(encoder, argument):
    with pytest.raises(WrongArgument, match=rf"^{argument}=0: expected .*integer.* 1"):
        build_fpn(encoder, 1, SKIPS, **{argument: 0})


@pytest.mark.parametrize("rate", [1, -0.1, "much", True])
def test_dropout_rate_out_of_range_is_an_error(encoder, rate):
    with pytest.raises(WrongArgument, match=r"^dropout=.*: expected .* 0 .* 1.*None"):
        build_fpn(encoder, 1, SKIPS, dropout=rate)


def test_unknown_names_suggest_the_nearest(encoder):
    with pytest.raises(UnknownChoice, match=r"^pyramid_aggregation='sun' .*one of sum, concat\..*'sum'"):
        build_fpn(encoder, 1, SKIPS, pyramid_aggregation="sun")
    with pytest.raises(UnknownChoice, match=r"^activation='sigmod' .* 'sigmoid'\?"):
        build_fpn(encoder, 1, SKIPS, activation="sigmod")


def test_backbone_that_is_not_a_model_is_an_error():
    with pytest.raises(WrongArgument, match=r"^backbone='resnet18': expected .*Keras model"):
        build_fpn("resnet18", 1, SKIPS)
