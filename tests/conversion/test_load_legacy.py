"""Keras 2 files opened as networks: recognised, built anew, filled; refused where the masks would not be the same."""

import numpy as np
import pytest

from maskwright.conversion.load_legacy import load_legacy
from maskwright.errors import InputError
from maskwright.models import FPN, Linknet, PSPNet, Unet
from maskwright.networks.backbones import encoder_of
from tests.weights.legacy_files import described, inputs_of, layers_of, write_numbers, write_whole

IMAGES = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 3)).astype("float32")
SMALL = (16, 8, 8, 8, 8)


@pytest.fixture(scope="module")
def network():
    """A Unet with random weights and statistics."""
    chance = np.random.default_rng(1)
    network = Unet("resnet18", classes=2, decoder_filters=SMALL)
    for variable in network.variables:
        variable.assign(np.abs(np.array(variable) + chance.normal(0, 0.02, variable.shape)))
    return network


@pytest.fixture
def whole(network, tmp_path):
    def write(*more, output="sigmoid", optimizer=False, edit=None, drop=None, join=None):
        layers = [*described(network), *more]
        layers = [
            (kind, config | (edit or {}).get(config["name"], {})) for kind, config in layers if config["name"] != drop
        ]
        inputs = inputs_of(network) | (join or {})
        file = tmp_path / "old.h5"
        return write_whole(file, layers_of(network), layers, output=output, optimizer=optimizer, inputs=inputs)

    return write


def test_a_whole_model_is_built_anew_and_gives_the_same_masks(network, whole):
    again = load_legacy(whole())
    np.testing.assert_array_equal(again.predict_on_batch(IMAGES), network.predict_on_batch(IMAGES))


def test_weights_alone_need_the_activation_and_say_so(network, tmp_path):
    file = write_numbers(tmp_path / "old.h5", layers_of(network))
    with pytest.raises(InputError, match=r"old\.h5: .*store activation.* activation='s"):
        load_legacy(file)
    again = load_legacy(file, activation="sigmoid")
    np.testing.assert_array_equal(again.predict_on_batch(IMAGES), network.predict_on_batch(IMAGES))


def test_a_network_that_is_given_is_filled_and_returned(network, tmp_path):
    again = Unet("resnet18", classes=2, decoder_filters=SMALL, activation=None)
    file = write_numbers(tmp_path / "old.h5", layers_of(network))
    assert load_legacy(file, again) is again
    logits = again.predict_on_batch(IMAGES)
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), network.predict_on_batch(IMAGES), atol=1e-6)
    with pytest.raises(InputError, match=r"overrides=\['activation'\]: expected none"):
        load_legacy(file, again, activation="sigmoid")


@pytest.mark.parametrize(
    ("door", "arguments", "more"),
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
def test_the_articles_first_unit_is_built_where_the_projection_is_missing(tmp_path, door, arguments, more):
    encoder = encoder_of("resnet18", first_unit="identity")
    article = door(encoder, classes=2, activation="sigmoid", **arguments)
    layers = layers_of(article)
    if door is Linknet:  # whose last convolution Keras named there
        *layers, (_, head) = layers.items()
        layers = dict([*layers, ("conv2d_7", head)])
    again = load_legacy(write_numbers(tmp_path / "old.h5", layers), activation="sigmoid", **more)
    assert "stage1_unit1_sc" not in layers_of(again)
    images = np.random.default_rng(0).uniform(0, 255, (1, 96, 96, 3)).astype("float32")
    np.testing.assert_array_equal(again.predict_on_batch(images), article.predict_on_batch(images))


def test_arguments_that_nobody_takes_are_refused(network, tmp_path):
    file = write_numbers(tmp_path / "old.h5", layers_of(network))
    for wrong, words in [
        ({"decoder_filter": SMALL}, r"argument='decoder_filter' is not known.* Did you mean 'decoder_filters'"),
        ({"first_unit": "identiy"}, r"first_unit='identiy' is not known.* Did you mean 'identity'"),
        ({"first_unit": "identity", "backbone_name": "vgg16"}, "expected an encoder that takes it .*, not vgg16"),
    ]:
        with pytest.raises(InputError, match=words):
            load_legacy(file, activation="sigmoid", **wrong)


def test_another_activation_than_the_described_one_may_be_asked_for(network, whole):
    logits = load_legacy(whole(), activation=None).predict_on_batch(IMAGES)
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), network.predict_on_batch(IMAGES), atol=1e-6)


def test_optimizer_state_is_left_and_that_is_said(whole):
    with pytest.warns(UserWarning, match=r"old\.h5: the optimizer state"):
        load_legacy(whole(optimizer=True))


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
def test_an_added_layer_without_weights_is_refused_by_name(whole, kind, settings):
    words = rf"layer {settings['name']} \({kind}.*\) belongs to no unet on resnet18"
    with pytest.raises(InputError, match=words):
        load_legacy(whole((kind, settings)))


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
def test_another_setting_of_a_known_layer_is_refused_by_its_name(whole, layer, setting):
    with pytest.raises(InputError, match=rf"layer {layer} \(.*\) belongs to no unet on resnet18"):
        load_legacy(whole(edit={layer: setting}))


def test_a_layer_left_out_is_refused(whole):
    with pytest.raises(InputError, match="lacks 1 x Activation, activation relu of a unet on resnet18"):
        load_legacy(whole(drop="stage2_unit1_relu1"))


@pytest.mark.parametrize(
    ("layer", "read", "words"),
    [
        (  # the two halves of a join the other way round
            "decoder_stage0_concat",
            ["stage4_unit1_relu1", "decoder_stage0_upsampling"],
            "stage4_unit1_relu1 and decoder_stage0_upsampling, .* has decoder_stage0_upsampling and stage4_unit1_relu1",
        ),
        (  # the skips of two decoder blocks of equal widths, before and after its normalisation
            "decoder_stage2_concat",
            ["decoder_stage2_upsampling", "stage2_unit1_bn1"],
            "decoder_stage2_upsampling and stage2_unit1_bn1, .* has decoder_stage2_upsampling and stage2_unit1_relu1",
        ),
        ("stage1_unit2_add", ["stage1_unit2_conv2", "stage1_unit2_bn1"], ""),
        ("stage4_unit2_bn2", ["stage4_unit2_bn1"], ""),
        ("decoder_stage4b_conv", ["decoder_stage4a_bn"], "decoder_stage4a_bn, .* has decoder_stage4a_relu"),
    ],
)
def test_layers_joined_otherwise_are_refused_by_name(whole, layer, read, words):
    with pytest.raises(InputError, match=rf"old\.h5: {layer} reads .*{words}.*Build the network yourself"):
        load_legacy(whole(join={layer: read}))


def test_an_output_taken_elsewhere_is_refused(whole):
    file = whole(output="stage1_unit1_relu1", edit={"sigmoid": {"activation": "relu"}})
    with pytest.raises(InputError, match=r"the output reads stage1_unit1_relu1, .* has Activation of \(final_conv\)"):
        load_legacy(file)


@pytest.mark.parametrize("read", [[], ["nowhere"], ["sigmoid"]])
def test_a_description_whose_layers_read_nothing_known_is_nobodys(whole, read):
    with pytest.raises(InputError, match="its description is not one that Keras wrote"):
        load_legacy(whole(join={"decoder_stage0_concat": read}))


def test_an_order_that_does_not_matter_is_let_pass(network, whole):
    again = load_legacy(whole(join={"stage1_unit2_add": inputs_of(network)["stage1_unit2_add"][::-1]}))
    np.testing.assert_array_equal(again.predict_on_batch(IMAGES), network.predict_on_batch(IMAGES))
