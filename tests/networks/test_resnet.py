"""Pre-activation ResNets: counts, names, order, shapes and constants of the published networks."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from maskwright.errors import UnknownChoice, WrongArgument
from maskwright.networks import ResNet18, ResNet34, build_resnet
from tests.networks.randomise import infer, randomise


@pytest.fixture(scope="module")
def resnet34() -> keras.Model:
    return ResNet34(first_unit="identity", include_top=False, input_shape=(224, 224, 3))


def tiny(**options: Any) -> keras.Model:
    return build_resnet(**{"units": (1, 1, 1, 1), "include_top": False, "input_shape": (64, 64, 3), **options})


@pytest.fixture(params=["resnet34", "bottleneck", "squeezed"])
def network_of_each_unit(request: pytest.FixtureRequest, resnet34: keras.Model) -> keras.Model:
    """A network of each kind of unit, with its constants."""
    kinds = {"bottleneck": {"block": "bottleneck"}, "squeezed": {"squeeze_excitation": True}}
    return resnet34 if request.param == "resnet34" else tiny(**kinds[request.param])


def test_resnet34_has_157_layers_and_the_published_parameter_count(resnet34):
    assert len(resnet34.layers) == 157
    assert resnet34.count_params() == 21_298_377
    assert resnet34.output_shape == (None, 7, 7, 512)


def test_top_adds_the_parameters_of_its_classifier():
    assert ResNet34(first_unit="identity").count_params() == 21_811_377
    assert ResNet18(first_unit="identity").count_params() == 11_695_793


def test_published_indices_are_the_four_skips(resnet34):
    skips = [(resnet34.layers[i].name, resnet34.layers[i].output.shape[1:]) for i in (128, 73, 36, 5)]
    assert skips == [
        ("stage4_unit1_relu1", (14, 14, 256)),
        ("stage3_unit1_relu1", (28, 28, 128)),
        ("stage2_unit1_relu1", (56, 56, 64)),
        ("relu0", (112, 112, 64)),
    ]


def test_layers_have_the_published_order():
    names = [layer.name for layer in tiny(first_unit="identity").layers]
    assert names[:17] == [
        *("data", "bn_data", "conv0_pad", "conv0", "bn0", "relu0", "pooling0_pad", "pooling0"),
        *("stage1_unit1_bn1", "stage1_unit1_relu1", "stage1_unit1_conv1_pad", "stage1_unit1_conv1"),
        *("stage1_unit1_bn2", "stage1_unit1_relu2", "stage1_unit1_conv2_pad", "stage1_unit1_conv2"),
        "stage1_unit1_add",
    ]
    assert names[-2:] == ["bn1", "relu1"]


def test_bottleneck_is_1x1_then_strided_3x3_then_1x1():
    network = tiny(block="bottleneck")
    names = [layer.name.removeprefix("stage3_unit1_") for layer in network.layers if "stage3_unit1" in layer.name]
    names.remove("sc")
    assert names == [
        *("bn1", "relu1", "conv1", "bn2", "relu2", "conv2_pad", "conv2", "bn3", "relu3", "conv3", "add"),
    ]
    convs = [network.get_layer(f"stage3_unit1_conv{i}") for i in (1, 2, 3)]
    assert [conv.kernel_size for conv in convs] == [(1, 1), (3, 3), (1, 1)]
    assert [conv.strides for conv in convs] == [(1, 1), (2, 2), (1, 1)]
    assert [conv.filters for conv in convs] == [256, 256, 1024]
    assert network.get_layer("stage3_unit1_sc").filters == 1024
    assert network.output_shape == (None, 2, 2, 2048)


def test_top_is_pooling_and_a_classifier():
    network = ResNet18(input_shape=(197, 200, 3), classes=7)
    assert [layer.name for layer in network.layers[-4:]] == ["relu1", "pool1", "fc1", "softmax"]
    probabilities = infer(randomise(network), np.ones((2, 197, 200, 3), "float32"))
    assert probabilities.shape == (2, 7)
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, rtol=1e-5)


def test_only_first_unit_projection_projects_in_the_first_unit():
    def projected(**options: Any) -> list[str]:
        return [layer.name for layer in tiny(**options).layers if layer.name.endswith("_sc")]

    later = ["stage2_unit1_sc", "stage3_unit1_sc", "stage4_unit1_sc"]
    assert projected(first_unit="identity") == later
    assert projected(first_unit="projection") == ["stage1_unit1_sc", *later]
    assert projected(first_unit="identity", block="bottleneck") == ["stage1_unit1_sc", *later]


@pytest.mark.parametrize(("stage", "stride"), [(1, 1), (2, 2), (3, 2), (4, 2)])
def test_projection_takes_the_first_relu_with_the_stride_of_the_unit(stage, stride):
    network = tiny(first_unit="projection")
    projection = network.get_layer(f"stage{stage}_unit1_sc")
    assert projection.input is network.get_layer(f"stage{stage}_unit1_relu1").output
    assert (projection.kernel_size, projection.strides) == ((1, 1), (stride, stride))


def test_identity_shortcut_is_the_input_of_the_unit():
    network = tiny(units=(2, 1, 1, 1), first_unit="identity")
    assert network.get_layer("stage1_unit1_add").input[1] is network.get_layer("pooling0").output
    assert network.get_layer("stage1_unit2_add").input[1] is network.get_layer("stage1_unit1_add").output


def test_normalisations_have_the_published_constants(network_of_each_unit):
    for layer in network_of_each_unit.layers:
        if isinstance(layer, layers.BatchNormalization):
            assert (layer.momentum, layer.epsilon, layer.center) == (0.99, 2e-5, True)
            assert layer.scale == (layer.name != "bn_data")


def test_convolutions_are_explicitly_padded_unbiased_and_he_uniform(network_of_each_unit):
    for layer in network_of_each_unit.layers:
        if isinstance(layer, layers.Conv2D):
            assert (layer.padding, layer.use_bias) == ("valid", "_se_" in layer.name)
            assert isinstance(layer.kernel_initializer, keras.initializers.HeUniform)
            side = layer.kernel_size[0]
            if side > 1:
                padding = network_of_each_unit.get_layer(f"{layer.name}_pad")
                assert layer.input is padding.output
                assert padding.padding == ((side // 2, side // 2),) * 2


def test_stem_is_a_7x7_convolution_and_a_3x3_pooling(network_of_each_unit):
    conv, pooling = network_of_each_unit.get_layer("conv0"), network_of_each_unit.get_layer("pooling0")
    assert (conv.filters, conv.kernel_size, conv.strides) == (64, (7, 7), (2, 2))
    assert network_of_each_unit.get_layer("pooling0_pad").padding == ((1, 1), (1, 1))
    assert isinstance(pooling, layers.MaxPooling2D)
    assert (pooling.pool_size, pooling.strides, pooling.padding) == ((3, 3), (2, 2), "valid")


def test_squeeze_and_excitation_is_before_the_addition():
    network = tiny(squeeze_excitation=True)
    for stage, channels in enumerate((64, 128, 256, 512), start=1):
        unit = f"stage{stage}_unit1"
        reduce, scale = network.get_layer(f"{unit}_se_reduce"), network.get_layer(f"{unit}_se_scale")
        assert reduce.filters == channels // 16
        assert scale.input[0] is network.get_layer(f"{unit}_conv2").output
        assert network.get_layer(f"{unit}_add").input[0] is scale.output


def test_input_tensor_model_starts_at_the_source_input():
    grey = keras.Input((64, 64, 1), name="grey")
    colours = layers.Conv2D(3, 1, name="to_colours")(grey)
    network = tiny(input_tensor=colours)
    assert [layer.name for layer in network.layers[:3]] == ["grey", "to_colours", "bn_data"]
    assert network.count_params() == tiny().count_params() + 3 + 3
    assert infer(network, np.zeros((1, 64, 64, 1), "float32")).shape == (1, 2, 2, 512)


def test_input_tensor_with_two_sources_gives_two_inputs():
    pair = [keras.Input((64, 64, 3), name="before"), keras.Input((64, 64, 3), name="after")]
    network = tiny(input_tensor=layers.Concatenate()(pair))
    assert [tensor.name for tensor in network.inputs] == ["before", "after"]


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (np.zeros((1, 64, 64, 3)), r"<class 'numpy.ndarray'>: expected .*symbolic.* \(n, height, "),
        (keras.Input((10,)), r"<KerasTensor shape=\(None, 10\).*: expected .*symbolic.* \(n, height, "),
        (keras.Input((64, 64, None)), r"\(64, 64, None\): expected \(height, width, channels\)"),
    ],
)
def test_input_tensor_that_is_not_a_feature_map_is_an_error(tensor, message):
    with pytest.raises(WrongArgument, match=f"^input_tensor={message}"):
        tiny(input_tensor=tensor)


def test_top_on_an_unsuitable_input_tensor_names_it():
    with pytest.raises(WrongArgument, match=r"^input_tensor=\(64, 64, 3\): expected .*197"):
        tiny(input_tensor=keras.Input((64, 64, 3)), include_top=True)


def test_sides_may_be_none_without_a_top_and_default_to_224():
    assert tiny(input_shape=(None, None, 4)).input_shape == (None, None, None, 4)
    assert ResNet18(include_top=False).input_shape == (None, 224, 224, 3)


@pytest.mark.parametrize("shape", [(196, 224, 3), (224, 196, 3), (None, 224, 3), (224, None, 3)])
def test_top_with_unknown_or_small_sides_is_an_error(shape):
    with pytest.raises(WrongArgument, match=r"^input_shape=.*expected .*197 pixels"):
        ResNet18(input_shape=shape)


@pytest.mark.parametrize("shape", [(64, 64), (64, 64, 3, 1), (64, 64, None), (0, 64, 3), (64, 6.4, 3), 64])
def test_input_shape_of_another_form_is_an_error(shape):
    with pytest.raises(WrongArgument, match=r"^input_shape=.*\(height, width, channels\)"):
        tiny(input_shape=shape)


@pytest.mark.parametrize("units", [(2, 2, 2), (2, 2, 2, 0), 5])
def test_units_of_another_form_are_an_error(units):
    with pytest.raises(WrongArgument, match=r"^units=.*four integers .* 1"):
        tiny(units=units)


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(UnknownChoice, match=r"^block='basics' .*basic, bottleneck\..*'basic'\?"):
        tiny(block="basics")
    with pytest.raises(UnknownChoice, match=r"^first_unit='projected' .*identity, projection\..*'proj"):
        tiny(first_unit="projected")


def test_channels_first_is_an_error_with_a_remedy():
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(WrongArgument, match=r"expected 'channels_last'\. Call keras\.config\.set_image_data_for"):
            tiny()
    finally:
        keras.config.set_image_data_format("channels_last")
