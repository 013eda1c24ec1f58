"""Conversion of Keras 2 files: equal masks, or an error."""

import numpy as np
import pytest

from maskwright.errors import UnknownChoice, WrongArgument
from maskwright.models import FPN, Linknet, PSPNet, Unet
from maskwright.networks.backbones import encoder_of
from maskwright.training.load_legacy import MissingArguments, load_legacy
from maskwright.weights.segmentation_models.connections import DifferentConnections
from maskwright.weights.segmentation_models.identify import UnknownNetwork
from maskwright.weights.segmentation_models.layers import MissingLayers, UnexpectedLayer
from tests.weights.legacy_files import inputs_of, layer_configs, layers_of, write_model, write_weights

IMAGES = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 3)).astype("float32")
SMALL = (16, 8, 8, 8, 8)


@pytest.fixture(scope="module")
def network():
    """Return a Unet with random weights and statistics."""
    rng = np.random.default_rng(1)
    network = Unet("resnet18", classes=2, decoder_filters=SMALL)
    for variable in network.variables:
        variable.assign(np.abs(np.array(variable) + rng.normal(0, 0.02, variable.shape)))
    return network


@pytest.fixture
def write(network, tmp_path):
    """Return a function that writes ``network`` as a whole model, with changes."""

    def write(*added, output="sigmoid", optimizer=False, settings=None, removed=None, inputs=None):
        configs = [
            (kind, config | (settings or {}).get(config["name"], {}))
            for kind, config in [*layer_configs(network), *added]
            if config["name"] != removed
        ]
        inputs = inputs_of(network) | (inputs or {})
        file = tmp_path / "old.h5"
        return write_model(file, layers_of(network), configs, output=output, optimizer=optimizer, inputs=inputs)

    return write


def test_whole_model_is_rebuilt_with_equal_masks(network, write):
    loaded = load_legacy(write())
    np.testing.assert_array_equal(loaded.predict_on_batch(IMAGES), network.predict_on_batch(IMAGES))


def test_weights_only_need_the_activation(network, tmp_path):
    file = write_weights(tmp_path / "old.h5", layers_of(network))
    with pytest.raises(MissingArguments, match=r"old\.h5: .*store activation.* activation='s"):
        load_legacy(file)
    loaded = load_legacy(file, activation="sigmoid")
    np.testing.assert_array_equal(loaded.predict_on_batch(IMAGES), network.predict_on_batch(IMAGES))


def test_weights_are_loaded_into_a_given_network(network, tmp_path):
    loaded = Unet("resnet18", classes=2, decoder_filters=SMALL, activation=None)
    file = write_weights(tmp_path / "old.h5", layers_of(network))
    assert load_legacy(file, loaded) is loaded
    logits = loaded.predict_on_batch(IMAGES)
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), network.predict_on_batch(IMAGES), atol=1e-6)
    with pytest.raises(WrongArgument, match=r"^overrides=\['activation'\]: expected none"):
        load_legacy(file, loaded, activation="sigmoid")


@pytest.mark.parametrize(
    ("builder", "arguments", "overrides"),
    [
        (Unet, {"decoder_filters": SMALL}, {}),
        (FPN, {"pyramid_block_filters": 16}, {}),
        (Linknet, {}, {}),
        (
            PSPNet,
            {"psp_conv_filters": 8, "input_shape": (96, 96, 3)},
            {"psp_pooling_type": "avg", "downsample_factor": 8},
        ),
    ],
)
def test_network_without_projection_is_built_with_an_identity_unit(tmp_path, builder, arguments, overrides):
    encoder = encoder_of("resnet18", first_unit="identity")
    original = builder(encoder, classes=2, activation="sigmoid", **arguments)
    layers = layers_of(original)
    if builder is Linknet:  # its final convolution is named automatically in Keras 2
        *layers, (_, head) = layers.items()
        layers = dict([*layers, ("conv2d_7", head)])
    loaded = load_legacy(write_weights(tmp_path / "old.h5", layers), activation="sigmoid", **overrides)
    assert "stage1_unit1_sc" not in layers_of(loaded)
    images = np.random.default_rng(0).uniform(0, 255, (1, 96, 96, 3)).astype("float32")
    np.testing.assert_array_equal(loaded.predict_on_batch(images), original.predict_on_batch(images))


def test_unknown_and_invalid_arguments_are_errors(network, tmp_path):
    file = write_weights(tmp_path / "old.h5", layers_of(network))
    for wrong, error, message in [
        ({"decoder_filter": SMALL}, UnknownChoice, "^argument='decoder_filter' .* 'decoder_filters'"),
        ({"first_unit": "identiy"}, UnknownChoice, "^first_unit='identiy' .* 'identity'"),
        ({"first_unit": "identity", "backbone_name": "vgg16"}, WrongArgument, "^first_unit='identity': .* vgg16"),
    ]:
        with pytest.raises(error, match=message):
            load_legacy(file, activation="sigmoid", **wrong)


def test_activation_of_a_whole_model_can_be_replaced(network, write):
    logits = load_legacy(write(), activation=None).predict_on_batch(IMAGES)
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), network.predict_on_batch(IMAGES), atol=1e-6)


def test_optimizer_state_is_not_loaded_with_a_warning(write):
    with pytest.warns(UserWarning, match=r"old\.h5: the optimizer state"):
        load_legacy(write(optimizer=True))


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("Lambda", {"name": "lambda_7", "module": "__main__", "function": ["gASV", None, None]}),
        ("Lambda", {"name": "lambda_8", "module": "segmentation_models.mine", "arguments": {"contrast": 2}}),
        ("Lambda", {"name": "contrast"}),
        ("Rescaling", {"name": "rescaling", "scale": 2.0}),
        ("UpSampling2D", {"name": "up_sampling2d_1"}),
        ("AveragePooling2D", {"name": "average_pooling2d_3"}),
        ("Multiply", {"name": "multiply_1"}),
        ("Add", {"name": "add_99"}),
        ("Activation", {"name": "activation_9", "activation": "tanh"}),
    ],
)
def test_added_layer_without_weights_is_an_error(write, kind, settings):
    with pytest.raises(UnexpectedLayer, match=rf"layer {settings['name']} \({kind}.*\) .* unet on resnet18 "):
        load_legacy(write((kind, settings)))


@pytest.mark.parametrize(
    ("layer", "setting"),
    [
        ("decoder_stage0_upsampling", {"interpolation": "bilinear"}),
        ("decoder_stage0_upsampling", {"size": [4, 4]}),
        ("stage2_unit1_relu1", {"activation": "tanh"}),
        ("stage2_unit1_conv1", {"strides": [1, 1]}),
        ("stage2_unit1_conv1", {"dilation_rate": [2, 2]}),
        ("stage2_unit1_conv2", {"activation": "relu"}),
        ("pooling0", {"pool_size": [2, 2]}),
        ("stage2_unit1_bn1", {"epsilon": 0.1}),
    ],
)
def test_changed_setting_of_a_layer_is_an_error(write, layer, setting):
    with pytest.raises(UnexpectedLayer, match=rf"layer {layer} \(.*\) .* unet on resnet18 "):
        load_legacy(write(settings={layer: setting}))


def test_missing_layer_is_an_error(write):
    with pytest.raises(MissingLayers, match=r" 1 x Activation, activation relu; .* unet on resnet18 "):
        load_legacy(write(removed="stage2_unit1_relu1"))


@pytest.mark.parametrize(
    ("layer", "inputs", "connections"),
    [
        (  # inputs in the reverse order
            "decoder_stage0_concat",
            ["stage4_unit1_relu1", "decoder_stage0_upsampling"],
            "stage4_unit1_relu1 and decoder_stage0_upsampling; .* decoder_stage0_upsampling and stage4_unit1_relu1 as",
        ),
        (  # the skip before instead of after its activation
            "decoder_stage2_concat",
            ["decoder_stage2_upsampling", "stage2_unit1_bn1"],
            "decoder_stage2_upsampling and stage2_unit1_bn1; .* decoder_stage2_upsampling and stage2_unit1_relu1 as",
        ),
        ("stage1_unit2_add", ["stage1_unit2_conv2", "stage1_unit2_bn1"], ""),
        ("stage4_unit2_bn2", ["stage4_unit2_bn1"], ""),
        ("decoder_stage4b_conv", ["decoder_stage4a_bn"], "decoder_stage4a_bn; .* decoder_stage4a_relu as"),
    ],
)
def test_changed_input_of_a_layer_is_an_error(write, layer, inputs, connections):
    with pytest.raises(DifferentConnections, match=rf"old\.h5: {layer} .*{connections}"):
        load_legacy(write(inputs={layer: inputs}))


def test_changed_output_is_an_error(write):
    file = write(output="stage1_unit1_relu1", settings={"sigmoid": {"activation": "relu"}})
    with pytest.raises(DifferentConnections, match=r"the output .* stage1_unit1_relu1; .* Activation\(final_conv\) "):
        load_legacy(file)


@pytest.mark.parametrize("inputs", [[], ["nowhere"], ["sigmoid"]])
def test_layer_without_known_inputs_is_an_error(write, inputs):
    with pytest.raises(UnknownNetwork, match=r"old\.h5: model_config "):
        load_legacy(write(inputs={"decoder_stage0_concat": inputs}))


def test_inputs_of_an_addition_may_be_swapped(network, write):
    loaded = load_legacy(write(inputs={"stage1_unit2_add": inputs_of(network)["stage1_unit2_add"][::-1]}))
    np.testing.assert_array_equal(loaded.predict_on_batch(IMAGES), network.predict_on_batch(IMAGES))
