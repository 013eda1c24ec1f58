"""Complete networks: names, arguments and defaults of segmentation_models, and errors with those names."""

import inspect
from typing import Any

import keras
import numpy as np
import pytest

from maskwright.errors import InputError, UnknownChoice, WrongArgument
from maskwright.models import ARCHITECTURES, FPN, DeepLabV3Plus, Linknet, PSPNet, Unet, UnetPlusPlus
from maskwright.networks.blocks import SkipSizeMismatch
from tests.networks.randomise import infer, randomise
from tests.networks.tiny import SKIPS, WIDTHS, decoder_layers, tiny_encoder

SHARED = ["backbone_name", "input_shape", "classes", "activation", "weights", "encoder_weights", "encoder_freeze"]
# segmentation_models 1.0.1; each default but those of `backbone_name` and `encoder_weights`, which differ here.
REFERENCE: dict[Any, dict[str, Any]] = {
    Unet: {
        "input_shape": (None, None, 3),
        "classes": 1,
        "activation": "sigmoid",
        "encoder_features": "default",
        "decoder_block_type": "upsampling",
        "decoder_filters": (256, 128, 64, 32, 16),
        "decoder_use_batchnorm": True,
    },
    FPN: {
        "input_shape": (None, None, 3),
        "classes": 21,
        "activation": "softmax",
        "encoder_features": "default",
        "pyramid_block_filters": 256,
        "pyramid_use_batchnorm": True,
        "pyramid_aggregation": "concat",
        "pyramid_dropout": None,
    },
    Linknet: {
        "input_shape": (None, None, 3),
        "classes": 1,
        "activation": "sigmoid",
        "encoder_features": "default",
        "decoder_block_type": "upsampling",
        "decoder_filters": (None, None, None, None, 16),
        "decoder_use_batchnorm": True,
    },
    PSPNet: {
        "input_shape": (384, 384, 3),
        "classes": 21,
        "activation": "softmax",
        "downsample_factor": 8,
        "psp_conv_filters": 512,
        "psp_pooling_type": "avg",
        "psp_use_batchnorm": True,
        "psp_dropout": None,
    },
}
# Parameters that segmentation_models 1.0.1 counts with encoder_weights=None.
PARAMETERS = {
    "fpn of resnet18": (lambda: FPN("resnet18", classes=3), 13_817_676),
    "linknet of resnet18": (lambda: Linknet("resnet18", classes=3), 11_521_980),
    "pspnet of resnet18": (lambda: PSPNet("resnet18", (96, 144, 3), 3), 2_089_164),
}


@pytest.mark.parametrize("function", REFERENCE)
def test_functions_have_the_arguments_of_segmentation_models_in_order(function):
    parameters = inspect.signature(function).parameters.values()
    by_position = {p.name: p.default for p in parameters if p.kind is not inspect.Parameter.KEYWORD_ONLY}
    assert list(by_position) == [*SHARED, *(name for name in REFERENCE[function] if name not in SHARED)]
    ours = {"backbone_name": "resnet34", "weights": None, "encoder_weights": None, "encoder_freeze": False}
    assert by_position == REFERENCE[function] | ours


def test_unet_of_resnet34_has_the_size_of_segmentation_models():
    network = Unet("resnet34")
    assert (len(network.layers), network.count_params()) == (199, 24_456_154)
    assert (network.input_shape, network.output_shape) == ((None, None, None, 3), (None, None, None, 1))


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_counts_are_those_of_segmentation_models(name):
    build, count = PARAMETERS[name]
    assert build().count_params() == count


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_accepts_a_keras_model(name):
    encoder = tiny_encoder(32, 64)
    network = ARCHITECTURES[name](encoder, classes=2, activation="softmax", encoder_freeze=True)
    assert (network.input_shape, network.output_shape) == ((None, 32, 64, 3), (None, 32, 64, 2))
    assert network.name == name
    masks = infer(randomise(network), np.ones((1, 32, 64, 3), "float32"))
    np.testing.assert_allclose(masks.sum(axis=-1), 1, rtol=1e-5)
    assert not any(layer.trainable for layer in encoder.layers if layer.weights)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_sides_that_the_encoder_cannot_halve_are_an_error(name):
    with pytest.raises(WrongArgument, match=r"^input_shape=\(36, 60, 3\): .* (8|32) .*None"):
        ARCHITECTURES[name]("resnet18", input_shape=(36, 60, 3))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_unknown_encoder_suggests_the_nearest(name):
    with pytest.raises(UnknownChoice, match=r"^backbone_name='resnet43' .* 'resnet34'\?"):
        ARCHITECTURES[name]("resnet43")


def test_weights_file_is_loaded_into_the_network(tmp_path):
    options: dict[str, Any] = {"classes": 2, "activation": "linear", "psp_conv_filters": 8}
    network = randomise(PSPNet(tiny_encoder(32, 64), **options))
    network.save_weights(tmp_path / "all.weights.h5")
    loaded = PSPNet(tiny_encoder(32, 64), weights=tmp_path / "all.weights.h5", **options)
    images = np.random.default_rng(5).normal(size=(1, 32, 64, 3)).astype("float32")
    np.testing.assert_allclose(infer(loaded, images), infer(network, images), rtol=1e-5)


def test_encoder_weights_are_loaded_into_the_encoder(tmp_path):
    encoder = randomise(tiny_encoder(32, 64))
    encoder.save_weights(tmp_path / "encoder.weights.h5")
    network = Linknet(tiny_encoder(32, 64), encoder_weights=tmp_path / "encoder.weights.h5")
    for name in WIDTHS:
        for ours, theirs in zip(
            network.get_layer(name).get_weights(), encoder.get_layer(name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_missing_weights_file_names_its_argument(name):
    with pytest.raises(InputError, match=r"^weights='nowhere\.weights\.h5'"):
        ARCHITECTURES[name](tiny_encoder(32, 64), weights="nowhere.weights.h5")
    with pytest.raises(InputError, match=r"^encoder_weights='nowhere\.weights\.h5'"):
        ARCHITECTURES[name](tiny_encoder(32, 64), encoder_weights="nowhere.weights.h5")


def test_frozen_encoder_trains_only_its_normalisations():
    network = Unet("resnet18", encoder_freeze=True)
    trained = {layer.name for layer in network.layers if layer.trainable_weights}
    in_encoder = {name for name in trained if not name.startswith(("decoder_", "final_conv"))}
    normalisations = {f"stage{s}_unit{u}_bn{i}" for s in (1, 2, 3, 4) for u in (1, 2) for i in (1, 2)}
    assert in_encoder == normalisations | {"bn_data", "bn0", "bn1"}
    assert trained - in_encoder >= {"decoder_stage0a_conv", "decoder_stage4b_bn", "final_conv"}


def test_unet_uses_its_decoder_arguments():
    encoder = tiny_encoder(None, None)
    network = Unet(
        encoder,
        encoder_features=["sixteenth"],
        decoder_block_type="transpose",
        decoder_filters=(16, 8),
        decoder_use_batchnorm=False,
        dropout=0.25,
    )
    assert list(decoder_layers(network, encoder)) == [
        *("decoder_stage0a_transpose", "decoder_stage0a_relu", "decoder_stage0_concat"),
        *("decoder_stage0b_conv", "decoder_stage0b_relu", "decoder_stage1a_transpose", "decoder_stage1a_relu"),
        *("decoder_stage1b_conv", "decoder_stage1b_relu", "final_dropout", "final_conv", "sigmoid"),
    ]
    assert network.get_layer("final_dropout").rate == 0.25


def test_unet_uses_its_training_options():
    network = Unet(
        tiny_encoder(32, 32), attention="scse", hypercolumn=True, deep_supervision=True, classification_head=True
    )
    assert set(network.output) == {"mask", "presence", *(f"mask_stage{level}" for level in range(4))}
    names = {layer.name for layer in network.layers}
    assert {"hypercolumn_concat", "decoder_stage0_attention2_add"} <= names


def test_fpn_uses_its_pyramid_arguments():
    encoder = tiny_encoder(None, None)
    network = FPN(
        encoder,
        encoder_features=SKIPS,
        pyramid_block_filters=10,
        pyramid_use_batchnorm=False,
        pyramid_aggregation="sum",
        pyramid_dropout=0.25,
    )
    found = decoder_layers(network, encoder)
    assert (found["fpn_stage_p2_conv"].filters, found["segm_stage2a_conv"].filters) == (10, 5)
    assert (found["pyramid_dropout"].rate, "aggregation_sum" in found) == (0.25, True)
    assert not any(name.endswith("_bn") for name in found)


def test_linknet_uses_its_decoder_arguments():
    encoder = tiny_encoder(None, None)
    network = Linknet(
        encoder,
        encoder_features=["sixteenth"],
        decoder_block_type="transpose",
        decoder_filters=(None, 8),
        decoder_use_batchnorm=False,
    )
    found = decoder_layers(network, encoder)
    assert (found["decoder_stage0c_conv"].filters, found["decoder_stage1c_conv"].filters) == (14, 8)
    assert {"decoder_stage1b_transpose", "decoder_stage0_add"} <= set(found)
    assert not any(name.endswith("_bn") for name in found)


@pytest.mark.parametrize(("factor", "layer"), [(4, "quarter"), (8, "eighth"), (16, "sixteenth")])
def test_pspnet_pools_the_layer_at_its_downsample_factor(factor, layer):
    encoder = tiny_encoder(None, None)
    network = PSPNet(
        encoder,
        downsample_factor=factor,
        psp_conv_filters=6,
        psp_pooling_type="max",
        psp_use_batchnorm=False,
        psp_dropout=0.25,
    )
    assert network.get_layer("psp_level6_pooling").input is network.get_layer(layer).output
    assert network.get_layer("final_upsampling").factor == factor
    found = decoder_layers(network, encoder)
    assert found["psp_level2_pooling"].pooling_type == "max"
    assert (found["psp_level2_conv"].filters, found["spatial_dropout"].rate) == (6, 0.25)
    assert not any(name.endswith("_bn") for name in found)


def test_pspnet_accepts_sizes_that_segmentation_models_does_not():
    network = PSPNet("resnet18", input_shape=(40, 56, 1), classes=2, psp_conv_filters=8)
    assert network.output_shape == (None, 40, 56, 2)


def test_deeplab_output_stride_dilates_v1_encoders():
    ends = {}
    for stride, size in ((16, (48, 80)), (32, (64, 96))):
        network = DeepLabV3Plus("resnet18_v1", (*size, 3), encoder_output_stride=stride, decoder_filters=8)
        assert network.output_shape == (None, *size, 1)
        ends[stride] = network.get_layer("decoder_aspp_0_convs_0_conv").input.shape[1:3]
    assert ends == {16: (3, 5), 32: (2, 3)}


def test_deeplab_uses_its_decoder_arguments():
    encoder = tiny_encoder(None, None)
    network = DeepLabV3Plus(
        encoder,
        decoder_filters=6,
        decoder_atrous_rates=(2, 3),
        decoder_dropout=0.25,
        decoder_use_batchnorm=False,
    )
    found = decoder_layers(network, encoder)
    assert found["decoder_aspp_0_convs_2_depthwise"].dilation_rate == (3, 3)
    assert (found["decoder_aspp_0_convs_2_conv"].filters, found["decoder_aspp_0_dropout"].rate) == (6, 0.25)
    assert not any(name.endswith("_bn") for name in found)
    assert network.get_layer("decoder_block1_conv").input is network.get_layer("quarter").output


def test_unetplusplus_uses_its_decoder_arguments():
    encoder = tiny_encoder(None, None)
    network = UnetPlusPlus(
        encoder,
        encoder_features=SKIPS[:2],
        decoder_filters=(9, 8, 7),
        decoder_use_batchnorm=False,
        attention="scse",
    )
    found = decoder_layers(network, encoder)
    filters = [found[f"decoder_x_0_{level}b_conv"].filters for level in range(3)]
    assert (filters, found["decoder_x_1_1b_conv"].filters) == ([9, 8, 7], 12)
    assert "decoder_x_0_0_attention2_add" in found
    assert not any(name.endswith("_bn") for name in found)


@pytest.mark.parametrize("function", [Unet, Linknet, UnetPlusPlus])
def test_fewer_decoder_filters_use_fewer_default_skips(function):
    network = function(tiny_encoder(64, 64), decoder_filters=(16, 8, 4))
    assert network.output_shape == (None, 16, 16, 1)


def test_fifth_skip_of_a_vgg_is_not_a_default():
    network = Unet("vgg16", decoder_filters=(8, 8, 8, 8, 8))
    assert network.get_layer("decoder_stage3_concat").input[1] is network.get_layer("block2_conv2").output
    assert "decoder_stage4_concat" not in {layer.name for layer in network.layers}


def test_v1_encoder_gives_torch_normalisation():
    norms = [Unet(name).get_layer("decoder_stage0a_bn") for name in ("resnet18", "resnet18_v1")]
    assert [(norm.momentum, norm.epsilon) for norm in norms] == [(0.99, 1e-3), (0.9, 1e-5)]


UNUSABLE_ARGUMENTS = {
    "decoder_filters=() for unet": (Unet, {"decoder_filters": ()}, "a list .*integer.* 1"),
    "decoder_filters for linknet": (Linknet, {"decoder_filters": 16}, "a list .*integer.* 1"),
    "decoder_filters deeper": (UnetPlusPlus, {"decoder_filters": (8, 0)}, "a list .*integer.* 1"),
    "decoder_filters of deeplab": (DeepLabV3Plus, {"decoder_filters": 0}, "an integer .* 1"),
    "encoder_features word": (Unet, {"encoder_features": "relu0"}, "a list .*ind"),
    "encoder_features none": (Linknet, {"encoder_features": None}, "a list .*ind"),
    "encoder_features few": (FPN, {"encoder_features": ["half"]}, "three or four"),
    "encoder_features name": (UnetPlusPlus, {"encoder_features": ["hlf"]}, "the name .* tiny, .*'half'"),
    "pyramid_dropout": (FPN, {"pyramid_dropout": 1}, "a number .* 0 .* 1, or None"),
    "pyramid_block_filters": (FPN, {"pyramid_block_filters": "8"}, "an integer .* 1"),
    "psp_dropout": (PSPNet, {"psp_dropout": 1}, "a number .* 0 .* 1, or None"),
    "psp_conv_filters": (PSPNet, {"psp_conv_filters": 0}, "an integer .* 1"),
    "downsample_factor": (PSPNet, {"downsample_factor": 32}, "4, 8 or 16"),
    "encoder_output_stride": (DeepLabV3Plus, {"encoder_output_stride": 8}, "16 or 32"),
    "decoder_atrous_rates": (DeepLabV3Plus, {"decoder_atrous_rates": ()}, "a list .*integers .* 1"),
    "decoder_dropout": (DeepLabV3Plus, {"decoder_dropout": -1}, "a number .* 0 .* 1"),
    "classes": (Unet, {"classes": 0}, "an integer .* 1"),
}


@pytest.mark.parametrize("case", UNUSABLE_ARGUMENTS)
def test_errors_have_the_argument_names_of_the_function(case):
    function, options, expected = UNUSABLE_ARGUMENTS[case]
    (argument,) = options
    with pytest.raises(WrongArgument, match=rf"^{argument}=.*: expected {expected}"):
        function(tiny_encoder(32, 32), **options)


@pytest.mark.parametrize(
    ("function", "options"),
    [
        (Unet, {"decoder_block_type": "transposed"}),
        (Linknet, {"decoder_block_type": "transposed"}),
        (FPN, {"pyramid_aggregation": "sun"}),
        (PSPNet, {"psp_pooling_type": "mx"}),
        (UnetPlusPlus, {"attention": "sce"}),
        (DeepLabV3Plus, {"activation": "sigmod"}),
    ],
)
def test_unknown_names_have_the_argument_names_of_the_function(function, options):
    ((argument, word),) = options.items()
    with pytest.raises(UnknownChoice, match=rf"^{argument}='{word}' .* '\w+'\?$"):
        function(tiny_encoder(32, 32), **options)


def test_skip_of_the_wrong_size_is_an_error():
    with pytest.raises(SkipSizeMismatch, match=r"decoder_stage0 .*16 x 16 .* 2 x 2"):
        Unet(tiny_encoder(32, 32), encoder_features=SKIPS[::-1])


@pytest.mark.parametrize(("function", "stride"), [(PSPNet, 8), (DeepLabV3Plus, 4)])
def test_encoder_without_a_skip_at_the_stride_is_an_error(function, stride):
    tiny = tiny_encoder(32, 32)
    shallow = keras.Model(tiny.input, tiny.get_layer("quarter").output, name="shallow")
    with pytest.raises(WrongArgument, match=rf"^backbone_name='shallow': .* 1/{stride} "):
        function(shallow)
