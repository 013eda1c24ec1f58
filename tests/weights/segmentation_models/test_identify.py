"""Identification of architecture, encoder and arguments by the names and shapes of layers."""

import numpy as np
import pytest

from maskwright.weights.segmentation_models.identify import UnknownNetwork, identify
from maskwright.weights.segmentation_models.identify_encoder import identify_encoder
from tests.weights.legacy_files import write_model, write_weights


def conv(*shape, bias=False):
    return {"kernel": shape} | ({"bias": shape[-1:]} if bias else {})


NORM = dict.fromkeys(("gamma", "beta", "moving_mean", "moving_variance"), (64,))
DATA = {"bn_data": {"beta": (3,), "moving_mean": (3,), "moving_variance": (3,)}}


def residual(*units, last):
    """Return batch normalisations 1 to ``last`` of each residual unit; ``units`` are numbers per stage."""
    return DATA | {
        f"stage{stage}_unit{unit}_bn{number}": NORM
        for stage, count in enumerate(units, 1)
        for unit in range(1, count + 1)
        for number in range(1, last + 1)
    }


def dense(*units):
    blocks = {
        f"conv{stage}_block{unit}_1_conv": conv(1, 1, 64, 128)
        for stage, count in enumerate(units, 2)
        for unit in range(1, count + 1)
    }
    return {"conv1_conv": conv(7, 7, 4, 64)} | blocks


def efficient(*units, stem, third):
    blocks = {
        f"block{stage}{'abcdefghijklm'[unit]}_dwconv": conv(3, 3, 32, 1)
        for stage, count in enumerate(units, 1)
        for unit in range(count)
    }
    return {"stem_conv": conv(3, 3, 3, stem), "block3a_project_conv": conv(1, 1, 144, third)} | blocks


def plain(*units):
    return {
        f"block{stage}_conv{number}": conv(3, 3, 3, 64, bias=True)
        for stage, count in enumerate(units, 1)
        for number in range(1, count + 1)
    }


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("resnet18", residual(2, 2, 2, 2, last=2)),
        ("resnet34", residual(3, 4, 6, 3, last=2)),
        ("resnet50", residual(3, 4, 6, 3, last=3)),
        ("resnet101", residual(3, 4, 23, 3, last=3)),
        ("resnet152", residual(3, 8, 36, 3, last=3)),
        ("resnext50", residual(3, 4, 6, 3, last=3) | {"stage1_unit1_sc_bn": NORM}),
        ("resnext101", residual(3, 4, 23, 3, last=3) | {"stage1_unit1_sc_bn": NORM}),
        ("vgg16", plain(2, 2, 3, 3, 3)),
        ("vgg19", plain(2, 2, 4, 4, 4)),
        ("densenet121", dense(6, 12, 24, 16)),
        ("densenet169", dense(6, 12, 32, 32)),
        ("densenet201", dense(6, 12, 48, 32)),
        ("efficientnetb0", efficient(1, 2, 2, 3, 3, 4, 1, stem=32, third=40)),
        ("efficientnetb1", efficient(2, 3, 3, 4, 4, 5, 2, stem=32, third=40)),
        ("efficientnetb2", efficient(2, 3, 3, 4, 4, 5, 2, stem=32, third=48)),
        ("efficientnetb3", efficient(2, 3, 3, 5, 5, 6, 2, stem=40, third=48)),
        ("efficientnetb7", efficient(4, 7, 7, 10, 10, 13, 4, stem=64, third=80)),
    ],
)
def test_encoder_is_identified_by_units_and_filters(name, layers):
    assert identify_encoder(layers, {}).name == name


@pytest.mark.parametrize(("name", "units"), [("resnet34", (3, 4, 1)), ("resnet18", (2, 2, 1))])
def test_truncated_encoder_is_identified_by_its_first_units(name, units):
    assert identify_encoder(residual(*units, last=2), {}).name == name


@pytest.mark.parametrize("units", [(1, 4, 6, 3), (3, 4, 24, 3), (3, 4, 6, 3, 1)])
def test_other_numbers_of_units_are_no_encoder(units):
    assert identify_encoder(residual(*units, last=3), {}) is None


def gated(*units, stem, group):
    """Return automatically named layers: the stem, and of each unit a 3x3 convolution and the two of the gate."""
    layers = [conv(*stem)]
    for channels, count in zip((256, 512, 1024, 2048), units, strict=False):
        layers += [conv(*group), conv(1, 1, channels, channels // 16, bias=True)] * count
        layers += [conv(1, 1, channels // 16, channels, bias=True)] * count
    return {f"conv2d_{number}": shapes for number, shapes in enumerate(layers)}


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("seresnet50", gated(3, 4, 6, 3, stem=(7, 7, 5, 64), group=(3, 3, 64, 64))),
        ("seresnet101", gated(3, 4, 23, 3, stem=(7, 7, 5, 64), group=(3, 3, 64, 64))),
        ("seresnet152", gated(3, 8, 36, 3, stem=(7, 7, 5, 64), group=(3, 3, 64, 64))),
        ("seresnext50", gated(3, 4, 6, 3, stem=(7, 7, 5, 64), group=(3, 3, 4, 4))),
        ("seresnext101", gated(3, 4, 23, 3, stem=(7, 7, 5, 64), group=(3, 3, 4, 4))),
        ("senet154", gated(3, 8, 36, 3, stem=(3, 3, 5, 64), group=(3, 3, 2, 4))),
        ("inceptionv3", {"conv2d": conv(3, 3, 5, 32)}),
    ],
)
def test_auto_named_encoder_is_identified_by_stem_and_gates(name, layers):
    found = identify_encoder({}, layers)
    assert (found.name, found.channels) == (name, 5)


def test_auto_named_gates_identify_an_seresnet():
    gates = {"conv2d": conv(1, 1, 64, 4, bias=True), "conv2d_1": conv(1, 1, 4, 64, bias=True)}
    head = {"conv2d_2": conv(3, 3, 16, 1, bias=True)}  # the final convolution of a Linknet is named automatically too
    assert identify_encoder(residual(2, 2, 2, 2, last=2), gates | head).name == "seresnet18"
    assert identify_encoder(residual(2, 2, 2, 2, last=2), head).name == "resnet18"


def arrays(layers):
    """Return arrays of these shapes that need no memory."""
    return {
        name: {weight: np.broadcast_to(np.float32(0), shape) for weight, shape in shapes.items()}
        for name, shapes in layers.items()
    }


RESNET18 = residual(2, 2, 2, 2, last=2) | {"stage1_unit1_sc": conv(1, 1, 64, 64)}
UNET = {f"decoder_stage{stage}{half}_conv": conv(3, 3, 8, 8 + stage) for stage in range(5) for half in "ab"}
PSPNET = {"psp_level1_conv": conv(1, 1, 128, 24), "final_conv": conv(3, 3, 24, 2, bias=True)}


def test_weights_of_a_unet_determine_all_but_the_activation(tmp_path):
    layers = RESNET18 | UNET | {"decoder_stage0b_bn": NORM, "final_conv": conv(3, 3, 12, 4, bias=True)}
    found = identify(write_weights(tmp_path / "old.h5", arrays(layers)))
    assert (found.architecture, found.backbone, found.classes) == ("unet", "resnet18", 4)
    assert (found.input_shape, found.first_unit) == ((None, None, 3), "projection")
    assert found.options == {
        "decoder_block_type": "upsampling",
        "decoder_filters": (8, 9, 10, 11, 12),
        "decoder_use_batchnorm": True,
    }
    assert (found.activation, found.not_stored) == (None, ("activation",))


def test_resnet_without_a_first_projection_has_an_identity_unit(tmp_path):
    layers = residual(2, 2, 2, 2, last=2) | UNET | {"final_conv": conv(3, 3, 12, 1, bias=True)}
    assert identify(write_weights(tmp_path / "old.h5", arrays(layers))).first_unit == "identity"


def test_weights_of_an_fpn_determine_its_options(tmp_path):
    sizes = {"fpn_stage_p5_conv": conv(1, 1, 256, 48), "head_conv": conv(3, 3, 24, 5, bias=True)}
    for merged, aggregation in ((24, "sum"), (96, "concat")):
        layers = RESNET18 | sizes | {"final_stage_conv": conv(3, 3, merged, 24, bias=True)}
        found = identify(write_weights(tmp_path / "old.h5", arrays(layers)))
        assert (found.architecture, found.classes) == ("fpn", 5)
        assert found.options == {
            "pyramid_block_filters": 48,
            "pyramid_use_batchnorm": False,
            "pyramid_aggregation": aggregation,
        }


def test_last_auto_named_convolution_is_the_head_of_a_linknet(tmp_path):
    blocks = {f"decoder_stage{stage}c_conv": conv(1, 1, 8, 16) for stage in range(5)}
    gates = {"conv2d_9": conv(1, 1, 64, 4, bias=True), "conv2d_10": conv(3, 3, 16, 7, bias=True)}
    layers = RESNET18 | UNET | blocks | {"decoder_stage0b_transpose": conv(4, 4, 8, 8)} | gates
    found = identify(write_weights(tmp_path / "old.h5", arrays(layers)))
    assert (found.architecture, found.backbone, found.classes) == ("linknet", "seresnet18", 7)
    assert found.options["decoder_block_type"] == "transpose"


def test_configuration_of_a_pspnet_determines_the_other_options(tmp_path):
    configs = [
        ("InputLayer", {"name": "data", "batch_input_shape": [None, 96, 144, 3]}),
        ("MaxPooling2D", {"name": "psp_level1_pooling"}),
        ("SpatialDropout2D", {"name": "spatial_dropout", "rate": 0.25}),
        ("UpSampling2D", {"name": "final_upsampling", "size": [4, 4]}),
        ("Activation", {"name": "softmax", "activation": "softmax"}),
    ]
    file = write_model(tmp_path / "old.h5", arrays(RESNET18 | PSPNET), configs, output="softmax")
    found = identify(file)
    assert (found.input_shape, found.activation, found.not_stored) == ((96, 144, 3), "softmax", ())
    assert found.options == {
        "psp_conv_filters": 24,
        "psp_use_batchnorm": False,
        "psp_pooling_type": "max",
        "downsample_factor": 4,
        "psp_dropout": 0.25,
    }
    weights_only = write_weights(tmp_path / "weights.h5", arrays(RESNET18 | PSPNET))
    assert identify(weights_only).not_stored == ("activation", "psp_pooling_type", "downsample_factor")


def assert_unknown(file, found):
    with pytest.raises(UnknownNetwork, match=rf"^{file}: .*{found}"):
        identify(file)


def test_network_without_known_decoder_encoder_or_head_is_an_error(tmp_path):
    file = tmp_path / "old.h5"
    assert_unknown(write_weights(file, arrays(RESNET18)), "no known decoder;")
    other_encoder = {"entry_conv": conv(3, 3, 3, 8)} | PSPNET
    assert_unknown(write_weights(file, arrays(other_encoder)), "a pspnet with an unknown encoder;")
    assert_unknown(write_weights(file, arrays(RESNET18 | UNET)), "a unet without its final convolution;")


@pytest.mark.parametrize(
    ("configs", "output", "found"),
    [
        ([("UpSampling2D", {"name": "up"})], "up", "up, is a UpSampling2D, not an Activation;"),
        ([("Activation", {"name": "sigmoid", "activation": "sigmoid"})], "sigmoid", r"inputs of the shapes \[\]"),
    ],
)
def test_whole_model_without_image_input_or_activation_is_an_error(tmp_path, configs, output, found):
    inputs = [("InputLayer", {"name": "data", "batch_input_shape": [None, 96, 96, 3]})] if output == "up" else []
    file = write_model(tmp_path / "old.h5", arrays(RESNET18 | PSPNET), inputs + configs, output=output)
    assert_unknown(file, found)


@pytest.mark.parametrize(
    "layers",
    [
        RESNET18 | PSPNET | {"psp_level1_conv": {"bias": (4,)}},
        RESNET18 | {"fpn_stage_p5_conv": conv(1, 1, 256, 48), "head_conv": conv(3, 3, 24, 5)},
        RESNET18 | PSPNET | {"bn_data": {"beta": (3,)}},
        {name: shapes for name, shapes in RESNET18.items() if name != "bn_data"} | PSPNET,
    ],
)
def test_layers_without_required_weights_are_an_error(tmp_path, layers):
    assert_unknown(write_weights(tmp_path / "old.h5", arrays(layers)), r"layers do not form one network \(\w+: ")


def test_configuration_of_another_format_is_an_error(tmp_path):
    configs = [("InputLayer", {"name": "data", "batch_input_shape": 4})]
    configs += [("Activation", {"name": "sigmoid", "activation": "sigmoid"})]
    file = write_model(tmp_path / "old.h5", arrays(RESNET18 | PSPNET), configs, output="sigmoid")
    assert_unknown(file, r"layers do not form one network \(TypeError: ")


def test_head_of_a_linknet_is_a_convolution_even_if_not_the_last(tmp_path):
    blocks = {f"decoder_stage{stage}c_conv": conv(1, 1, 8, 16) for stage in range(5)}
    others = {"conv2d_3": conv(3, 3, 16, 7, bias=True), "conv2d_transpose_1": conv(4, 4, 9, 9), "dense": conv(5, 6)}
    found = identify(write_weights(tmp_path / "old.h5", arrays(RESNET18 | UNET | blocks | others)))
    assert (found.architecture, found.classes) == ("linknet", 7)
