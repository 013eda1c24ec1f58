"""The U-Net decoder: names, counts, sizes, precision and errors."""

import keras
import numpy as np
import pytest
from keras import layers

from maskwright.errors import UnknownChoice, WrongArgument
from maskwright.networks import ResNet18, ResNet34, SkipSizeMismatch, build_resnet, build_unet
from maskwright.networks.backbones import BACKBONES
from tests.networks.randomise import infer, randomise

SKIPS = BACKBONES["resnet18"].skips


@pytest.fixture(scope="module")
def encoder() -> keras.Model:
    return build_resnet(units=(1, 1, 1, 1), include_top=False, input_shape=(64, 96, 3), name="encoder")


def decoder_names(network: keras.Model) -> list[str]:
    names = [layer.name for layer in network.layers]
    return names[names.index("relu1") + 1 :]


def test_published_indices_connect_the_four_named_skips():
    encoder = ResNet34(first_unit="identity", include_top=False, input_shape=(224, 224, 3))
    network = build_unet(encoder, 1, [128, 73, 36, 5])
    assert network.output_shape == (None, 224, 224, 1)
    for level, skip in enumerate(SKIPS):
        joined = network.get_layer(f"decoder_stage{level}_concat").input
        assert joined[0] is network.get_layer(f"decoder_stage{level}_upsampling").output
        assert joined[1] is network.get_layer(skip).output


def test_upsampling_decoder_has_the_names_of_segmentation_models(encoder):
    pairs = [[f"decoder_stage{i}{half}_{part}" for half in "ab" for part in ("conv", "bn", "relu")] for i in range(5)]
    heads = [[f"decoder_stage{i}_upsampling", f"decoder_stage{i}_concat"] for i in range(4)]
    expected = [name for i in range(4) for name in [*heads[i], *pairs[i]]]
    expected += ["decoder_stage4_upsampling", *pairs[4], "final_conv", "sigmoid"]
    assert decoder_names(build_unet(encoder, 1, SKIPS)) == expected


def test_transpose_decoder_has_the_names_of_segmentation_models(encoder):
    names = decoder_names(build_unet(encoder, 1, SKIPS[:1], (16, 8), n_upsample_blocks=2, block_type="transpose"))
    first = ["decoder_stage0a_transpose", "decoder_stage0a_bn", "decoder_stage0a_relu", "decoder_stage0_concat"]
    assert names[:7] == [*first, *(f"decoder_stage0b_{part}" for part in ("conv", "bn", "relu"))]
    assert "decoder_stage1_concat" not in names


@pytest.mark.parametrize("block_type", ["upsampling", "transpose"])
@pytest.mark.parametrize("use_batchnorm", [True, False])
def test_decoder_convolutions_have_a_bias_only_without_normalisation(encoder, block_type, use_batchnorm):
    network = build_unet(encoder, 1, SKIPS, block_type=block_type, use_batchnorm=use_batchnorm)
    decoder = [layer for layer in network.layers if layer.name.startswith("decoder_")]
    convs = [layer for layer in decoder if isinstance(layer, layers.Conv2D | layers.Conv2DTranspose)]
    assert len(convs) == 10
    assert {conv.use_bias for conv in convs} == {not use_batchnorm}
    norms = [layer for layer in decoder if isinstance(layer, layers.BatchNormalization)]
    assert len(norms) == (10 if use_batchnorm else 0)
    assert {(norm.momentum, norm.epsilon) for norm in norms} <= {(0.99, 1e-3)}


def test_decoder_kernels_strides_and_initialisers(encoder):
    network = build_unet(encoder, 3, SKIPS, block_type="transpose")
    transpose, conv = network.get_layer("decoder_stage1a_transpose"), network.get_layer("decoder_stage1b_conv")
    assert (transpose.kernel_size, transpose.strides, transpose.padding) == ((4, 4), (2, 2), "same")
    assert (conv.kernel_size, conv.padding, conv.filters) == ((3, 3), "same", 128)
    assert isinstance(conv.kernel_initializer, keras.initializers.HeUniform)
    upsampling = build_unet(encoder, 3, SKIPS).get_layer("decoder_stage2_upsampling")
    assert (upsampling.size, upsampling.interpolation) == ((2, 2), "nearest")


def test_head_is_a_glorot_convolution_with_bias_and_the_activation(encoder):
    network = build_unet(encoder, 3, SKIPS, activation="softmax")
    head, activation = network.layers[-2:]
    assert (head.name, head.filters, head.kernel_size, head.padding) == ("final_conv", 3, (3, 3), "same")
    assert head.use_bias
    assert isinstance(head.kernel_initializer, keras.initializers.GlorotUniform)
    assert (type(activation), activation.name) == (layers.Activation, "softmax")


@pytest.mark.parametrize(("given", "name"), [(None, "linear"), (keras.activations.tanh, "tanh")])
def test_activation_may_be_none_or_a_function(encoder, given, name):
    assert build_unet(encoder, 1, SKIPS, activation=given).layers[-1].name == name


@pytest.fixture
def mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy(before)


@pytest.mark.usefixtures("mixed_precision")
def test_head_is_float32_in_mixed_precision():
    encoder = build_resnet(units=(1, 1, 1, 1), include_top=False, input_shape=(32, 32, 3))
    network = build_unet(encoder, 2, SKIPS, activation="softmax")
    precision = {layer.name: layer.compute_dtype for layer in network.layers}
    assert (precision["conv0"], precision["decoder_stage4b_conv"]) == ("float16", "float16")
    assert (precision["final_conv"], precision["softmax"]) == ("float32", "float32")
    assert infer(network, np.zeros((1, 32, 32, 3), "float32")).dtype == np.float32


@pytest.mark.usefixtures("mixed_precision")
def test_classifier_probabilities_are_float32_in_mixed_precision():
    precision = {layer.name: layer.compute_dtype for layer in ResNet18().layers}
    assert (precision["fc1"], precision["softmax"]) == ("float16", "float32")


@pytest.mark.parametrize("size", [(32, 96), (64, 32)])
def test_variable_sizes_accept_any_multiple_of_32(open_unet, size):
    masks = infer(open_unet, np.zeros((1, *size, 3), "float32"))
    assert masks.shape == (1, *size, 2)


@pytest.fixture(scope="module")
def open_unet() -> keras.Model:
    encoder = build_resnet(units=(1, 1, 1, 1), include_top=False, input_shape=(None, None, 3))
    return build_unet(encoder, 2, SKIPS, (16, 16, 8, 8, 8))


def test_network_is_restored_from_its_configuration(open_unet):
    again = keras.Model.from_config(open_unet.get_config())
    again.set_weights(randomise(open_unet).get_weights())
    images = np.random.default_rng(2).normal(size=(1, 32, 64, 3)).astype("float32")
    np.testing.assert_allclose(infer(again, images), infer(open_unet, images), rtol=1e-6)


@pytest.mark.parametrize("use_batchnorm", [True, False])
def test_vgg_is_followed_by_two_centre_convolutions_of_512(use_batchnorm):
    vgg = keras.applications.VGG16(weights=None, include_top=False, input_shape=(32, 64, 3))
    skips = ["block5_conv3", "block4_conv3", "block3_conv3", "block2_conv2", "block1_conv2"]
    network = build_unet(vgg, 1, skips, use_batchnorm=use_batchnorm)
    names = [layer.name for layer in network.layers]
    parts = ("conv", "bn", "relu") if use_batchnorm else ("conv", "relu")
    centre = [f"center_block{i}_{part}" for i in (1, 2) for part in parts]
    start = names.index("block5_pool") + 1
    assert names[start : start + len(centre) + 1] == [*centre, "decoder_stage0_upsampling"]
    for i in (1, 2):
        conv = network.get_layer(f"center_block{i}_conv")
        assert (conv.filters, conv.kernel_size, conv.padding, conv.use_bias) == (512, (3, 3), "same", not use_batchnorm)
        assert isinstance(conv.kernel_initializer, keras.initializers.HeUniform)
    assert network.output_shape == (None, 32, 64, 1)


def test_blocks_and_rates_determine_the_output_size(encoder):
    assert build_unet(encoder, 1, SKIPS, n_upsample_blocks=4).output_shape == (None, 32, 48, 1)
    assert build_unet(encoder, 1, [], upsample_rates=(4, 8), n_upsample_blocks=2).output_shape == (None, 64, 96, 1)
    assert build_unet(encoder, 1, [], upsample_rates=(2, 3), n_upsample_blocks=2).output_shape == (None, 12, 18, 1)


def test_transposed_convolution_is_4x4_with_the_rate_of_the_block(encoder):
    network = build_unet(encoder, 1, [], (8, 8), (3, 4), n_upsample_blocks=2, block_type="transpose")
    transposes = [network.get_layer(f"decoder_stage{i}a_transpose") for i in (0, 1)]
    assert [layer.kernel_size for layer in transposes] == [(4, 4), (4, 4)]
    assert [layer.strides for layer in transposes] == [(3, 3), (4, 4)]
    assert network.output_shape == (None, 24, 36, 1)


def test_unknown_skip_suggests_the_nearest(encoder):
    with pytest.raises(
        WrongArgument, match=r"^skip_connection_layers='stage4_relu1': .*of encoder, .*'stage4_unit1_re"
    ):
        build_unet(encoder, 1, ["stage4_relu1"])


@pytest.mark.parametrize("index", [-1, 1000])
def test_skip_index_out_of_range_is_an_error(encoder, index):
    last = len(encoder.layers) - 1
    with pytest.raises(WrongArgument, match=rf"^skip_connection_layers={index}: .*an index from 0 to {last}\.$"):
        build_unet(encoder, 1, [index])


def test_skips_that_are_not_a_list_or_too_many_are_an_error(encoder):
    with pytest.raises(WrongArgument, match=r"^skip_connection_layers=None: expected a list .*ind"):
        build_unet(encoder, 1, None)  # type: ignore[arg-type]
    with pytest.raises(WrongArgument, match=r"^skip_connection_layers=\['relu0'\]: expected the name of a layer of en"):
        build_unet(encoder, 1, [["relu0"]])  # type: ignore[list-item]
    with pytest.raises(WrongArgument, match=r"^skip_connection_layers=\[5, 5, 5\]: expected at most 2 "):
        build_unet(encoder, 1, [5, 5, 5], n_upsample_blocks=2)
    for skips in ("relu0", np.array([5, 3])):
        with pytest.raises(WrongArgument, match=r"^skip_connection_layers=.*: expected a list .*ind"):
            build_unet(encoder, 1, skips)


def test_skip_that_is_not_a_feature_map_is_an_error():
    images = keras.Input((32, 32, 3))
    flat = layers.Flatten(name="flat")(images)
    backbone = keras.Model(images, layers.Reshape((32, 32, 3))(flat))
    with pytest.raises(
        WrongArgument, match=r"^skip_connection_layers='flat': expected .*\(n, height, width, channels\)"
    ):
        build_unet(backbone, 1, ["flat"])


def test_skips_from_shallow_to_deep_are_an_error(encoder):
    with pytest.raises(SkipSizeMismatch, match=r"decoder_stage0 .*32 x 48 .* 4 x 6\. .*deep to shall"):
        build_unet(encoder, 1, SKIPS[::-1])


@pytest.mark.parametrize(("size", "rates"), [((48, 64), (2, 2, 2)), ((64, 64), (2, 3, 2))])
def test_sizes_or_rates_that_do_not_match_the_skips_are_an_error(size, rates):
    backbone = build_resnet(units=(1, 1, 1, 1), include_top=False, input_shape=(*size, 3))
    with pytest.raises(SkipSizeMismatch, match=r"rates .*image size"):
        build_unet(backbone, 1, SKIPS[:3], upsample_rates=rates, n_upsample_blocks=3)


@pytest.mark.parametrize("argument", ["decoder_filters", "upsample_rates"])
@pytest.mark.parametrize("values", [(2, 2), (2, 2, 0), (), 2])
def test_missing_filters_or_rates_of_a_block_are_an_error(encoder, argument, values):
    with pytest.raises(
        WrongArgument, match=rf"^{argument}=.*a list with an integer of at least 1 for each of the 3 decoder blocks"
    ):
        build_unet(encoder, 1, SKIPS[:3], n_upsample_blocks=3, **{argument: values})


def test_block_count_of_0_is_an_error(encoder):
    with pytest.raises(WrongArgument, match=r"^n_upsample_blocks=0: expected .*integer.* 1"):
        build_unet(encoder, 1, [], n_upsample_blocks=0)


@pytest.mark.parametrize("classes", [0, -1, 1.0, True])
def test_class_count_below_1_is_an_error(encoder, classes):
    with pytest.raises(WrongArgument, match=r"^classes=.*: expected .*integer.* 1"):
        build_unet(encoder, classes, SKIPS)


def test_numpy_integers_are_accepted(encoder):
    assert build_unet(encoder, np.int64(2), SKIPS).output_shape[-1] == 2  # type: ignore[arg-type]


def test_unknown_names_suggest_the_nearest(encoder):
    with pytest.raises(UnknownChoice, match=r"^block_type='upsample' .*one of upsampling, transpose\..*'upsampling'"):
        build_unet(encoder, 1, SKIPS, block_type="upsample")  # type: ignore[arg-type]
    with pytest.raises(UnknownChoice, match=r"^activation='sigmod' .*softmax.* 'sigmoid'\?"):
        build_unet(encoder, 1, SKIPS, activation="sigmod")


def test_backbone_without_a_feature_map_is_an_error():
    with pytest.raises(WrongArgument, match=r"^backbone=.*one output.*include_top=False"):
        build_unet(ResNet18(), 1, SKIPS)
    with pytest.raises(WrongArgument, match=r"^backbone='resnet18': expected .*Keras model"):
        build_unet("resnet18", 1, SKIPS)
    with pytest.raises(WrongArgument, match=r"^backbone=<Sequential .*built=False>: expected .*Keras model"):
        build_unet(keras.Sequential([layers.Conv2D(4, 3)]), 1, [])
