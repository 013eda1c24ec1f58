"""Networks told by the names and shapes of their layers, for each architecture and encoder of the library."""

import numpy as np
import pytest

from maskwright.errors import InputError
from maskwright.weights.segmentation_models.identify import identify
from maskwright.weights.segmentation_models.identify_encoder import identify_encoder
from tests.weights.legacy_files import write_numbers, write_whole


def conv(*shape, bias=False):
    return {"kernel": shape} | ({"bias": shape[-1:]} if bias else {})


NORM = dict.fromkeys(("gamma", "beta", "moving_mean", "moving_variance"), (64,))
DATA = {"bn_data": {"beta": (3,), "moving_mean": (3,), "moving_variance": (3,)}}


def residual(*units, last):
    """The batch normalisations ``last`` deep of residual units, as many as ``units`` in each stage."""
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
def test_an_encoder_is_told_by_its_units(name, layers):
    assert identify_encoder(layers, {}).name == name


@pytest.mark.parametrize(("name", "units"), [("resnet34", (3, 4, 1)), ("resnet18", (2, 2, 1))])
def test_an_encoder_cut_at_a_tap_is_told_by_the_units_it_has_left(name, units):
    assert identify_encoder(residual(*units, last=2), {}).name == name


@pytest.mark.parametrize("units", [(1, 4, 6, 3), (3, 4, 24, 3), (3, 4, 6, 3, 1)])
def test_other_numbers_of_units_are_nobodys(units):
    assert identify_encoder(residual(*units, last=3), {}) is None


def gated(*units, stem, group):
    """Nameless layers in their order: the stem, then the 3x3 and the two gates' convolutions of each unit."""
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
def test_an_encoder_without_names_is_told_by_its_first_kernels_and_its_gates(name, layers):
    found = identify_encoder({}, layers)
    assert (found.name, found.channels) == (name, 5)


def test_gates_without_names_tell_a_gated_resnet_from_a_plain_one():
    gates = {"conv2d": conv(1, 1, 64, 4, bias=True), "conv2d_1": conv(1, 1, 4, 64, bias=True)}
    head = {"conv2d_2": conv(3, 3, 16, 1, bias=True)}  # a Linknet's last convolution, nameless too
    assert identify_encoder(residual(2, 2, 2, 2, last=2), gates | head).name == "seresnet18"
    assert identify_encoder(residual(2, 2, 2, 2, last=2), head).name == "resnet18"


def arrays(layers):
    """Arrays of these shapes that take no memory."""
    return {
        name: {weight: np.broadcast_to(np.float32(0), shape) for weight, shape in shapes.items()}
        for name, shapes in layers.items()
    }


RESNET18 = residual(2, 2, 2, 2, last=2) | {"stage1_unit1_sc": conv(1, 1, 64, 64)}
UNET = {f"decoder_stage{stage}{half}_conv": conv(3, 3, 8, 8 + stage) for stage in range(5) for half in "ab"}
PSPNET = {"psp_level1_conv": conv(1, 1, 128, 24), "final_conv": conv(3, 3, 24, 2, bias=True)}


def test_weights_only_tell_all_of_a_unet_but_its_activation(tmp_path):
    layers = RESNET18 | UNET | {"decoder_stage0b_bn": NORM, "final_conv": conv(3, 3, 12, 4, bias=True)}
    found = identify(write_numbers(tmp_path / "old.h5", arrays(layers)))
    assert (found.architecture, found.backbone, found.classes) == ("unet", "resnet18", 4)
    assert (found.input_shape, found.first_unit) == ((None, None, 3), "projection")
    assert found.options == {
        "decoder_block_type": "upsampling",
        "decoder_filters": (8, 9, 10, 11, 12),
        "decoder_use_batchnorm": True,
    }
    assert (found.activation, found.not_stored) == (None, ("activation",))


def test_a_resnet_without_a_first_projection_has_the_articles_first_unit(tmp_path):
    layers = residual(2, 2, 2, 2, last=2) | UNET | {"final_conv": conv(3, 3, 12, 1, bias=True)}
    assert identify(write_numbers(tmp_path / "old.h5", arrays(layers))).first_unit == "identity"


def test_weights_only_tell_the_options_of_an_fpn(tmp_path):
    sizes = {"fpn_stage_p5_conv": conv(1, 1, 256, 48), "head_conv": conv(3, 3, 24, 5, bias=True)}
    for joined, aggregation in ((24, "sum"), (96, "concat")):
        layers = RESNET18 | sizes | {"final_stage_conv": conv(3, 3, joined, 24, bias=True)}
        found = identify(write_numbers(tmp_path / "old.h5", arrays(layers)))
        assert (found.architecture, found.classes) == ("fpn", 5)
        assert found.options == {
            "pyramid_block_filters": 48,
            "pyramid_use_batchnorm": False,
            "pyramid_aggregation": aggregation,
        }


def test_the_last_layer_without_a_name_is_a_linknets_head(tmp_path):
    blocks = {f"decoder_stage{stage}c_conv": conv(1, 1, 8, 16) for stage in range(5)}
    gates = {"conv2d_9": conv(1, 1, 64, 4, bias=True), "conv2d_10": conv(3, 3, 16, 7, bias=True)}
    layers = RESNET18 | UNET | blocks | {"decoder_stage0b_transpose": conv(4, 4, 8, 8)} | gates
    found = identify(write_numbers(tmp_path / "old.h5", arrays(layers)))
    assert (found.architecture, found.backbone, found.classes) == ("linknet", "seresnet18", 7)
    assert found.options["decoder_block_type"] == "transpose"


def test_a_whole_pspnet_tells_what_its_weights_do_not(tmp_path):
    described = [
        ("InputLayer", {"name": "data", "batch_input_shape": [None, 96, 144, 3]}),
        ("MaxPooling2D", {"name": "psp_level1_pooling"}),
        ("SpatialDropout2D", {"name": "spatial_dropout", "rate": 0.25}),
        ("UpSampling2D", {"name": "final_upsampling", "size": [4, 4]}),
        ("Activation", {"name": "softmax", "activation": "softmax"}),
    ]
    file = write_whole(tmp_path / "old.h5", arrays(RESNET18 | PSPNET), described, output="softmax")
    found = identify(file)
    assert (found.input_shape, found.activation, found.not_stored) == ((96, 144, 3), "softmax", ())
    assert found.options == {
        "psp_conv_filters": 24,
        "psp_use_batchnorm": False,
        "psp_pooling_type": "max",
        "downsample_factor": 4,
        "psp_dropout": 0.25,
    }
    numbers = write_numbers(tmp_path / "numbers.h5", arrays(RESNET18 | PSPNET))
    assert identify(numbers).not_stored == ("activation", "psp_pooling_type", "downsample_factor")


def refusal(file):
    with pytest.raises(InputError) as refused:
        identify(file)
    return str(refused.value)


def test_what_is_none_of_these_is_refused_by_what_it_lacks(tmp_path):
    file = tmp_path / "old.h5"
    assert "it has no decoder that is known here" in refusal(write_numbers(file, arrays(RESNET18)))
    strange = {"entry_conv": conv(3, 3, 3, 8)} | PSPNET
    assert "a pspnet whose encoder is not known here" in refusal(write_numbers(file, arrays(strange)))
    assert "a unet without its last convolution" in refusal(write_numbers(file, arrays(RESNET18 | UNET)))


@pytest.mark.parametrize(
    ("described", "output", "words"),
    [
        ([("UpSampling2D", {"name": "up"})], "up", "its last layer, up, is a UpSampling2D"),
        ([("Activation", {"name": "sigmoid", "activation": "sigmoid"})], "sigmoid", r"its inputs are of shape \[\]"),
    ],
)
def test_a_whole_model_that_begins_or_ends_otherwise_is_refused(tmp_path, described, output, words):
    inputs = [("InputLayer", {"name": "data", "batch_input_shape": [None, 96, 96, 3]})] if output == "up" else []
    file = write_whole(tmp_path / "old.h5", arrays(RESNET18 | PSPNET), inputs + described, output=output)
    with pytest.raises(InputError, match=words):
        identify(file)


@pytest.mark.parametrize(
    "layers",
    [
        RESNET18 | PSPNET | {"psp_level1_conv": {"bias": (4,)}},
        RESNET18 | {"fpn_stage_p5_conv": conv(1, 1, 256, 48), "head_conv": conv(3, 3, 24, 5)},
        RESNET18 | PSPNET | {"bn_data": {"beta": (3,)}},
        {name: shapes for name, shapes in RESNET18.items() if name != "bn_data"} | PSPNET,
    ],
)
def test_layers_without_what_they_must_hold_are_nobodys(tmp_path, layers):
    assert "its layers are not those of one network" in refusal(write_numbers(tmp_path / "old.h5", arrays(layers)))


def test_a_description_of_another_form_is_nobodys(tmp_path):
    odd = [("InputLayer", {"name": "data", "batch_input_shape": 4})]
    odd += [("Activation", {"name": "sigmoid", "activation": "sigmoid"})]
    file = write_whole(tmp_path / "old.h5", arrays(RESNET18 | PSPNET), odd, output="sigmoid")
    assert "its layers are not those of one network" in refusal(file)


def test_a_linknets_head_is_a_convolution_also_where_another_kind_comes_last(tmp_path):
    blocks = {f"decoder_stage{stage}c_conv": conv(1, 1, 8, 16) for stage in range(5)}
    others = {"conv2d_3": conv(3, 3, 16, 7, bias=True), "conv2d_transpose_1": conv(4, 4, 9, 9), "dense": conv(5, 6)}
    found = identify(write_numbers(tmp_path / "old.h5", arrays(RESNET18 | UNET | blocks | others)))
    assert (found.architecture, found.classes) == ("linknet", 7)
