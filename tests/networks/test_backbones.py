"""The table of encoders, and networks that are used as encoders."""

from collections import Counter

import keras
import numpy as np
import pytest
from keras import layers

from maskwright.errors import UnknownChoice, WrongArgument
from maskwright.networks.backbones import BACKBONES, backbones, build_backbone, encoder_of
from maskwright.networks.blocks import batch_norm, torch_batch_norm
from tests.networks.randomise import infer, randomise

# The names of segmentation_models 1.0.1, and those that are new here.
REFERENCE = [
    *(f"{kind}{depth}" for kind in ("resnet", "seresnet") for depth in (18, 34, 50, 101, 152)),
    *(f"{kind}{depth}" for kind in ("resnext", "seresnext") for depth in (50, 101)),
    *("senet154", "vgg16", "vgg19", "inceptionv3", "inceptionresnetv2", "mobilenet", "mobilenetv2"),
    *(f"densenet{depth}" for depth in (121, 169, 201)),
    *(f"efficientnetb{size}" for size in range(8)),
]
NEW = [
    *("mobilenetv3small", "mobilenetv3large"),
    *(f"efficientnetv2{size}" for size in ("b0", "b1", "b2", "b3", "s", "m", "l")),
    *(f"convnext{size}" for size in ("tiny", "small", "base", "large", "xlarge")),
    *(f"resnet{depth}_v1" for depth in (18, 34, 50, 101, 152)),
    *(f"efficientnetlite{size}" for size in range(5)),
]

# A small encoder of each family whose parameters are not counted by hand below, and variants with another structure.
OTHERS = [
    *("vgg16", "vgg19", "densenet121", "mobilenet", "mobilenetv2", "mobilenetv3small"),
    *("mobilenetv3large", "efficientnetb0", "efficientnetv2b0", "convnexttiny", "resnext50", "seresnet50"),
    *("resnet18_v1", "efficientnetlite0", "efficientnetlite1"),
]
STRIDES = {"vgg16": (16, 8, 4, 2, 1), "vgg19": (16, 8, 4, 2, 1), "convnexttiny": (16, 8, 4)}

# (units of each stage, 3x3 pairs or bottlenecks, gated), written down apart from the code.
SHAPES = {
    "resnet18": ((2, 2, 2, 2), "basic", False),
    "resnet34": ((3, 4, 6, 3), "basic", False),
    "resnet50": ((3, 4, 6, 3), "bottleneck", False),
    "resnet101": ((3, 4, 23, 3), "bottleneck", False),
    "resnet152": ((3, 8, 36, 3), "bottleneck", False),
    "seresnet18": ((2, 2, 2, 2), "basic", True),
    "seresnet34": ((3, 4, 6, 3), "basic", True),
}


def parameters_by_hand(name: str) -> int:
    """Count the parameters with projection and without top; a batch normalisation has 4 per channel."""
    units, block, gated = SHAPES[name]
    total = 3 * 3 + (7 * 7 * 3 * 64 + 4 * 64)  # bn_data has no scale
    inside = 64
    for count, filters in zip(units, (64, 128, 256, 512), strict=True):
        width = filters if block == "basic" else 4 * filters
        for number in range(count):
            total += 4 * inside + (inside * width if number == 0 else 0)
            if block == "basic":
                total += 9 * inside * filters + 4 * filters + 9 * filters * filters
            else:
                total += inside * filters + 4 * filters + 9 * filters * filters + 4 * filters + filters * width
            if gated:
                hidden = width // 16
                total += width * hidden + hidden + hidden * width + width
            inside = width
    return total + 4 * inside


@pytest.fixture(scope="module", params=SHAPES)
def encoder(request: pytest.FixtureRequest) -> keras.Model:
    return build_backbone(request.param, input_shape=(64, 32, 3))


def test_table_has_every_name_of_segmentation_models():
    assert sorted(backbones()) == sorted(REFERENCE + NEW)


def test_table_prints_and_is_indexed_by_name():
    lines = str(backbones()).splitlines()
    assert lines[0].split() == ["backbone", "parameters", "weights"]
    assert [line.split()[0] for line in lines[1:]] == list(backbones())
    assert ["resnet50", "23,546,057", "imagenet,", "imagenet11k-places365ch"] in [line.split() for line in lines]
    assert len(backbones()) == len(REFERENCE + NEW)
    assert "resnet35" not in backbones()


def test_encoder_has_its_units_and_parameter_count(encoder):
    assert encoder.count_params() == parameters_by_hand(encoder.name) == BACKBONES[encoder.name].parameters
    adds = Counter(layer.name.split("_")[0] for layer in encoder.layers if layer.name.endswith("_add"))
    assert tuple(adds[f"stage{stage}"] for stage in (1, 2, 3, 4)) == SHAPES[encoder.name][0]


def test_skips_have_strides_16_8_4_and_2(encoder):
    skips = BACKBONES[encoder.name].skips
    assert skips == ("stage4_unit1_relu1", "stage3_unit1_relu1", "stage2_unit1_relu1", "relu0")
    assert [encoder.get_layer(skip).output.shape[1:3] for skip in skips] == [(4, 2), (8, 4), (16, 8), (32, 16)]
    assert encoder.output_shape[1:3] == (2, 1)


@pytest.mark.parametrize("name", OTHERS)
def test_other_families_match_their_rows(name):
    row = BACKBONES[name]
    network = row.build(input_shape=(64, 32, 3))
    assert (network.name, network.count_params()) == (name, row.parameters)
    strides = STRIDES.get(name, (16, 8, 4, 2))
    assert [network.get_layer(skip).output.shape[1:3] for skip in row.skips] == [(64 // s, 32 // s) for s in strides]
    assert network.output_shape[1:3] == (2, 1)


def test_variants_of_a_family_have_the_same_skips():
    for family in ("resnet", "densenet", "efficientnetb", "senet", "convnext"):
        skips = [row.skips for name, row in BACKBONES.items() if name.startswith(family) and not name.endswith("_v1")]
        assert len({row[1:] for row in skips}) == 1


def test_only_torch_encoders_have_torch_normalisation():
    torchs = {name for name, row in BACKBONES.items() if row.norm is torch_batch_norm}
    assert torchs == {name for name in NEW if name.endswith("_v1")}


@pytest.mark.parametrize("encoder", ["resnet18", "resnet50", "seresnet18"], indirect=True)
def test_encoder_is_restored_from_its_configuration(encoder):
    again = keras.Model.from_config(encoder.get_config())
    again.set_weights(randomise(encoder).get_weights())
    images = np.random.default_rng(2).normal(size=(1, 64, 32, 3)).astype("float32")
    np.testing.assert_allclose(infer(again, images), infer(encoder, images), rtol=1e-6)


def test_options_are_passed_to_the_builder():
    network = build_backbone("resnet18", first_unit="identity")
    assert "stage1_unit1_sc" not in {layer.name for layer in network.layers}
    encoder = encoder_of("resnet18_v1", input_shape=(64, 64, 1), output_stride=16)
    assert encoder.model.output_shape == (None, 4, 4, 512)
    assert encoder.norm is torch_batch_norm


def test_option_of_another_encoder_is_an_error():
    supported = r".*\(resnet18_v1, .*resnet152_v1\), not resnet18\.$"
    with pytest.raises(WrongArgument, match=rf"^output_stride=16: expected {supported}"):
        build_backbone("resnet18", output_stride=16)
    with pytest.raises(WrongArgument, match=r"^depth=3: expected .*\(no encoder\), not vgg16\.$"):
        encoder_of("vgg16", depth=3)
    with pytest.raises(WrongArgument, match=r"^first_unit='identity': .*, not pyramid\.$"):
        encoder_of(pyramid(), first_unit="identity")


def test_unknown_encoder_suggests_the_nearest():
    with pytest.raises(UnknownChoice, match=r"^name='seresnet43' .*resnet18, .*'seresnet34'\?"):
        build_backbone("seresnet43")
    with pytest.raises(UnknownChoice, match=r"^encoder=None .*resnet18"):
        encoder_of(None, argument="encoder")


def test_any_network_with_a_feature_map_is_an_encoder():
    source = keras.Input((None, None, 3))
    half = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="half")(source)
    network = keras.Model(source, layers.Conv2D(4, 3, strides=2, padding="same")(half))
    encoder = encoder_of(network)
    assert (encoder.model, encoder.skips, encoder.norm) == (network, ("half",), batch_norm)


def pyramid(*, deepest: int = 5, bare: bool = False) -> keras.Model:
    """Build a model like a keras-hub backbone: levels from P2 on, one per halving, and a layer after the last."""
    source = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 4, strides=4, padding="same", activation="relu")(source)
    levels = {}
    for level in range(2, deepest + 1):
        if level > 2:
            x = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(x)
        levels[f"P{level}"] = x = layers.BatchNormalization(name=f"level{level}")(x)
    network = keras.Model(source, layers.Conv2D(8, 1, name="after")(x), name="pyramid")
    network.pyramid_outputs = levels | ({"P3": levels["P3"] + 1.0} if bare else {})
    return network


@pytest.mark.parametrize(("deepest", "end"), [(4, 4), (5, 5), (6, 5)])
def test_pyramid_output_is_p5_or_the_deepest_level(deepest, end):
    network = pyramid(deepest=deepest)
    encoder = encoder_of(network)
    assert encoder.model.output is network.pyramid_outputs[f"P{end}"]
    assert encoder.skips == tuple(f"level{level}" for level in range(end - 1, 1, -1))
    assert encoder.model.get_layer("level2") is network.get_layer("level2")


def test_pyramid_of_tensors_that_are_no_layer_outputs_is_an_error():
    with pytest.raises(WrongArgument, match=r"^backbone_name='pyramid': .*pyramid_outputs"):
        encoder_of(pyramid(bare=True))


def test_keras_hub_backbone_is_an_encoder():
    hub = pytest.importorskip("keras_hub", reason="keras-hub is not installed")
    encoder = encoder_of(
        hub.models.ResNetBackbone(
            input_conv_filters=[64],
            input_conv_kernel_sizes=[7],
            stackwise_num_filters=[64, 8, 8, 16],
            stackwise_num_blocks=[1, 1, 1, 1],
            stackwise_num_strides=[1, 2, 2, 2],
            block_type="basic_block",
            image_shape=(64, 96, 3),
        )
    )
    maps = [encoder.model.get_layer(skip).output.shape for skip in encoder.skips]
    assert maps == [(None, 4, 6, 8), (None, 8, 12, 8), (None, 16, 24, 64)]
    assert encoder.model.output_shape == (None, 2, 3, 16)
