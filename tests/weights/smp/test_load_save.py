"""Networks to smp's files and back. What smp itself answers is compared in tests/peers/test_smp.py."""

import hashlib
import json
import sys

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from maskwright.errors import MissingPackage, UnknownChoice, WrongArgument
from maskwright.networks.blocks import torch_batch_norm
from maskwright.networks.deeplabv3plus import build_deeplabv3plus
from maskwright.networks.resnet import build_resnet
from maskwright.networks.resnet_v1 import RESNET_V1_SKIPS, ResNet18V1, build_resnet_v1
from maskwright.networks.smp_fpn import build_smp_fpn
from maskwright.networks.smp_linknet import build_smp_linknet
from maskwright.networks.unet import build_unet
from maskwright.networks.unetplusplus import build_unetplusplus
from maskwright.weights.smp.identify import UnknownSmpNetwork, identify
from maskwright.weights.smp.load_save import NotForSmp, load_smp, save_smp, save_smp_folder
from maskwright.weights.torch.names import NoCounterpart
from tests.networks.randomise import infer, randomise

SOURCE = {"argument": "file", "given": "a.pth"}
CHANNELS, CLASSES = 4, 3


def encoder(**options):
    return ResNet18V1(input_shape=(None, None, CHANNELS), **options)


def unet(backbone=None, skips=RESNET_V1_SKIPS, *, classes=CLASSES, activation="softmax", **options):
    options = {"norm": torch_batch_norm} | options
    return build_unet(backbone or encoder(), classes, skips, activation=activation, **options)


# How a user builds a network; how many tensors its state dict has in smp 0.6.0 (ResNet18, four channels, three
# classes) and the start of the SHA-256 of its sorted lines "name [sizes] type".
CASES = {
    "Unet, scse": (lambda: unet(attention="scse"), 242, "d2dab852f877d2b9"),
    "UnetPlusPlus": (
        lambda: build_unetplusplus(encoder(), CLASSES, RESNET_V1_SKIPS, activation="softmax"),
        254,
        "2852a3ccd17a72e7",
    ),
    "FPN": (
        lambda: build_smp_fpn(encoder(), CLASSES, RESNET_V1_SKIPS[:3], activation="softmax"),
        151,
        "9a770a58d621f159",
    ),
    "Linknet": (
        lambda: build_smp_linknet(encoder(), CLASSES, RESNET_V1_SKIPS, activation="softmax"),
        217,
        "4a68d0fcd6fac9a9",
    ),
    "DeepLabV3Plus": (
        lambda: build_deeplabv3plus(encoder(output_stride=16), CLASSES, ["layer1"], activation="softmax"),
        181,
        "e460bb2c9bfe673f",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_network_goes_to_smp_by_its_names_and_comes_back_the_same(case, tmp_path):
    build, count, digest = CASES[case]
    network = randomise(build())
    save_smp(network, tmp_path / "network.safetensors")
    tensors = load_file(tmp_path / "network.safetensors")
    lines = sorted(f"{name} {list(tensor.shape)} {tensor.dtype}" for name, tensor in tensors.items())
    assert len(lines) == count
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest().startswith(digest)

    again = load_smp(tmp_path / "network.safetensors")
    assert [layer.name for layer in again.layers] == [layer.name for layer in network.layers]
    for ours, theirs in zip(again.weights, network.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def test_another_epsilon_is_made_up_for_in_the_variance_and_dropout_is_left_out(tmp_path):
    network = randomise(unet(classes=1, activation="sigmoid", norm=keras.layers.BatchNormalization, dropout=0.3))
    assert network.get_layer("decoder_stage0a_bn").epsilon == 1e-3
    save_smp(network, tmp_path / "network.safetensors")
    again = load_smp(tmp_path / "network.safetensors")
    assert again.get_layer("decoder_stage0a_bn").epsilon == 1e-5
    assert again.layers[-1].name == "sigmoid"
    images = np.random.default_rng(1).normal(size=(2, 32, 64, CHANNELS)).astype("float32")
    np.testing.assert_allclose(infer(again, images), infer(network, images), atol=1e-5)


@pytest.fixture(scope="module")
def from_a_file(tmp_path_factory):
    """A network as training leaves it: mixed precision, a fixed size, frozen, regularised, saved, opened again."""
    file = tmp_path_factory.mktemp("network") / "network.keras"
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        backbone = ResNet18V1(input_shape=(64, 96, CHANNELS))
        network = unet(backbone, classes=5, activation="sigmoid", decoder_filters=(64, 32, 32, 16, 16))
    finally:
        keras.config.set_dtype_policy("float32")
    network.get_layer("conv1").trainable = False
    network.get_layer("final_conv").kernel_regularizer = keras.regularizers.L2(1e-4)
    network.save(file)
    return keras.models.load_model(file)


def test_a_folder_says_how_smp_builds_the_network(from_a_file, tmp_path):
    save_smp_folder(from_a_file, tmp_path / "new/hub")
    assert json.loads((tmp_path / "new/hub/config.json").read_text()) == {
        "_model_class": "Unet",
        "encoder_name": "resnet18",
        "encoder_weights": None,
        "in_channels": CHANNELS,
        "classes": 5,
        "encoder_depth": 5,
        "decoder_channels": [64, 32, 32, 16, 16],
        "decoder_use_norm": True,
        "decoder_attention_type": None,
        "activation": "sigmoid",
    }
    again = load_smp(tmp_path / "new/hub")
    assert again.output_shape == (None, None, None, 5)
    assert again.layers[-1].name == "sigmoid"  # five classes alone would have made it a softmax
    for ours, theirs in zip(again.weights, from_a_file.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


@pytest.mark.parametrize(
    ("build", "error", "text"),
    [
        (
            lambda: unet(build_resnet(units=(2, 2, 2, 2), include_top=False, input_shape=(None, None, 3)), []),
            NoCounterpart,
            r"^the layer bn_data \(BatchNormalization\) .* unet has no counterpart in segmentation_models_p.*'s Unet\.",
        ),
        (
            lambda: unet(classification_head=True),
            NoCounterpart,
            r"^the layer present \(Dense\)",
        ),
        (
            lambda: unet(build_resnet_v1(units=(1, 1, 1, 1))),
            UnknownSmpNetwork,
            r"^network='unet' holds no network .*: its encoder is none of resnet18, .*resnet152\.$",
        ),
        (
            lambda: unet(n_upsample_blocks=4, skips=["layer2", "layer1", "relu"]),
            UnknownSmpNetwork,
            r"its encoder_depth is 4, expected 5\.$",
        ),
        (
            lambda: unet(encoder(output_stride=16), upsample_rates=(1, 2, 2, 2, 2)),
            NotForSmp,
            r"^the network unet does not fit .*pytorch's Unet: its layer layer4_0_conv1_pad has padding",
        ),
        (
            lambda: unet(activation="tanh"),
            NotForSmp,
            r"its layer tanh has another activation, there it has linear or sigmoid or softmax\.$",
        ),
    ],
    ids=["pre-activation", "further output", "shallow", "four blocks", "dilated", "tanh"],
)
def test_what_smp_cannot_hold_is_refused_by_name(build, error, text, tmp_path):
    with pytest.raises(error, match=text):
        save_smp(build(), tmp_path / "network.safetensors")
    assert not any(tmp_path.iterdir())


def test_only_a_functional_model_into_a_safetensors_file_is_saved(tmp_path):
    with pytest.raises(WrongArgument, match=r"^file='network\.pth': expected a path that ends in \.safetensors\.$"):
        save_smp(keras.Sequential(), "network.pth")
    with pytest.raises(WrongArgument, match=r"^network=.*: expected a functional Keras model\.$"):
        save_smp(keras.Sequential(), tmp_path / "network.safetensors")


def test_a_writer_that_is_not_installed_is_named(from_a_file, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(MissingPackage, match=r"^file='.*network\.safetensors' requires safetensors "):
        save_smp(from_a_file, tmp_path / "network.safetensors")


RESNET18 = {f"encoder.layer{stage}.{unit}.conv1.weight": (1, 1, 3, 3) for stage in (1, 2, 3, 4) for unit in (0, 1)}
ENDS = {"encoder.conv1.weight": (64, 13, 7, 7), "segmentation_head.0.weight": (6, 16, 3, 3)}
BLOCKS = {
    f"decoder.blocks.{block}.conv{number}.0.weight": (10 + block, 7, 3, 3) for block in range(5) for number in (1, 2)
}
UNET = RESNET18 | ENDS | BLOCKS


def without(name):
    return {other: shape for other, shape in UNET.items() if other != name}


def test_the_head_tells_how_a_pyramid_is_merged():
    fpn = RESNET18 | ENDS | {"decoder.p5.weight": (256, 512, 1, 1)}
    for width, policy in ((16, "add"), (4, "cat")):
        told = identify(fpn | {"decoder.seg_blocks.0.block.0.block.0.weight": (width, 256, 3, 3)}, source=SOURCE)
        assert told.options["decoder_merge_policy"] == policy
        assert (told.options["decoder_segmentation_channels"], told.options["decoder_pyramid_channels"]) == (width, 256)


def test_an_atrous_pyramid_that_is_not_separable_is_refused():
    deeplab = RESNET18 | ENDS | {"decoder.aspp.0.project.0.weight": (256, 1280, 1, 1)}
    with pytest.raises(UnknownSmpNetwork, match=r"its decoder_aspp_separable is False, expected True\.$"):
        identify(deeplab, source=SOURCE)


def test_shapes_tell_the_network():
    told = identify(UNET, source=SOURCE)
    assert (told.architecture, told.encoder, told.channels, told.classes) == ("Unet", "resnet18", 13, 6)
    assert told.options["decoder_channels"] == [10, 11, 12, 13, 14]
    assert told.options["decoder_use_norm"] is False
    bottlenecks = {name: shape for name, shape in UNET.items() if "layer" not in name}
    units = enumerate((3, 4, 23, 3), start=1)
    bottlenecks |= {f"encoder.layer{stage}.{unit}.conv3.weight": () for stage, count in units for unit in range(count)}
    assert identify(bottlenecks, source=SOURCE).encoder == "resnet101"


@pytest.mark.parametrize(
    ("shapes", "found"),
    [
        (
            without("decoder.blocks.0.conv1.0.weight"),
            r"there is no tensor decoder\.blocks\.0\.conv1\.0\.weight or decoder",
        ),
        (
            without("encoder.layer3.1.conv1.weight"),
            "its encoder is none of resnet18, resnet34, resnet50, resnet101, re",
        ),
        (without("segmentation_head.0.weight"), r"segmentation_head\.0\.weight is no kernel of a convolution"),
        (UNET | {"encoder.conv1.weight": (64,)}, r"encoder\.conv1\.weight is no kernel of a convolution"),
        (without("decoder.blocks.4.conv1.0.weight"), "its encoder_depth is 4, expected 5"),
    ],
)
def test_shapes_that_tell_no_network_are_refused(shapes, found):
    with pytest.raises(UnknownSmpNetwork, match=rf"^file='a\.pth' holds no network .* that can be built here: {found}"):
        identify(shapes, source=SOURCE)


def test_an_architecture_that_is_asked_for_is_the_one_that_is_there():
    assert identify(UNET, architecture="Unet", source=SOURCE).architecture == "Unet"
    with pytest.raises(UnknownSmpNetwork, match=r"there is no tensor decoder\.p5\.weight\.$"):
        identify(UNET, architecture="FPN", source=SOURCE)
    with pytest.raises(UnknownChoice, match=r"^architecture='Unett' is not known; .* Did you mean 'Unet'\?$"):
        identify(UNET, architecture="Unett", source=SOURCE)


@pytest.fixture
def hub(tmp_path):
    """A folder of smp's with the tensors of an Unet, too few to load, and a config."""

    def write(**config):
        save_file({name: np.zeros(shape, "float32") for name, shape in UNET.items()}, tmp_path / "model.safetensors")
        (tmp_path / "config.json").write_text(json.dumps({"_model_class": "Unet"} | config))
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"decoder_interpolation": "bilinear"}, "its decoder_interpolation is 'bilinear', expected 'nearest'"),
        ({"decoder_use_norm": {"type": "batchnorm", "eps": 0.1}}, r"its decoder_use_norm is \{.*\}, expected True or"),
        ({"aux_params": {"classes": 2}}, "its aux_params is .*, expected None"),
        ({"activation": "tanh"}, "its activation is 'tanh', expected None or"),
        ({"_model_class": "FPN"}, r"config\.json beside it describes no Unet"),
    ],
)
def test_a_config_that_says_more_than_can_be_built_is_refused(hub, config, found):
    with pytest.raises(UnknownSmpNetwork, match=rf"model\.safetensors' holds no network .*: {found}"):
        load_smp(hub(**config))


def test_a_config_that_is_no_json_is_refused(hub):
    folder = hub()
    (folder / "config.json").write_text("[" * 10**5)
    with pytest.raises(UnknownSmpNetwork, match=r"config\.json beside it describes no Unet\.$"):
        load_smp(folder)


def test_an_unknown_activation_is_refused_before_the_file_is_read():
    with pytest.raises(
        UnknownChoice, match=r"^activation='softmax2d' is not known; expected one of linear, sigmoid, so"
    ):
        load_smp("nowhere.pth", activation="softmax2d")
