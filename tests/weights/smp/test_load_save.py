"""Loading and saving of smp's files. tests/peers/test_smp.py compares predictions with smp itself."""

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


# Builder; number of tensors in the state dict of smp 0.6.0 (ResNet18, four channels, three classes); start of the
# SHA-256 of its sorted lines "name [sizes] type".
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
def test_saved_tensors_have_the_names_of_smp_and_load_unchanged(case, tmp_path):
    build, count, digest = CASES[case]
    network = randomise(build())
    save_smp(network, tmp_path / "network.safetensors")
    tensors = load_file(tmp_path / "network.safetensors")
    lines = sorted(f"{name} {list(tensor.shape)} {tensor.dtype}" for name, tensor in tensors.items())
    assert len(lines) == count
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest().startswith(digest)

    loaded = load_smp(tmp_path / "network.safetensors")
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in network.layers]
    for ours, theirs in zip(loaded.weights, network.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def test_variance_compensates_epsilon_and_dropout_is_not_stored(tmp_path):
    network = randomise(unet(classes=1, activation="sigmoid", norm=keras.layers.BatchNormalization, dropout=0.3))
    assert network.get_layer("decoder_stage0a_bn").epsilon == 1e-3
    save_smp(network, tmp_path / "network.safetensors")
    loaded = load_smp(tmp_path / "network.safetensors")
    assert loaded.get_layer("decoder_stage0a_bn").epsilon == 1e-5
    assert loaded.layers[-1].name == "sigmoid"
    images = np.random.default_rng(1).normal(size=(2, 32, 64, CHANNELS)).astype("float32")
    np.testing.assert_allclose(infer(loaded, images), infer(network, images), atol=1e-5)


@pytest.fixture(scope="module")
def trained_network(tmp_path_factory):
    """Network as after a training: mixed precision, fixed size, frozen layer, regulariser, saved and loaded."""
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


def test_folder_stores_the_arguments_of_smp(trained_network, tmp_path):
    save_smp_folder(trained_network, tmp_path / "new/hub")
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
    loaded = load_smp(tmp_path / "new/hub")
    assert loaded.output_shape == (None, None, None, 5)
    assert loaded.layers[-1].name == "sigmoid"  # the default for five classes is a softmax
    for ours, theirs in zip(loaded.weights, trained_network.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


@pytest.mark.parametrize(
    ("build", "error", "text"),
    [
        (
            lambda: unet(build_resnet(units=(2, 2, 2, 2), include_top=False, input_shape=(None, None, 3)), []),
            NoCounterpart,
            r"^network unet: the layer bn_data \(BatchNormalization\) .* segmentation_models_pytorch's Unet\.$",
        ),
        (
            lambda: unet(classification_head=True),
            NoCounterpart,
            r"^network unet: the layer presence \(Dense\)",
        ),
        (
            lambda: unet(build_resnet_v1(units=(1, 1, 1, 1))),
            UnknownSmpNetwork,
            r"^network='unet': .* encoder .* resnet18, .*resnet152;",
        ),
        (
            lambda: unet(n_upsample_blocks=4, skips=["layer2", "layer1", "relu"]),
            UnknownSmpNetwork,
            r"^network='unet': encoder_depth is 4, not 5;",
        ),
        (
            lambda: unet(encoder(output_stride=16), upsample_rates=(1, 2, 2, 2, 2)),
            NotForSmp,
            r"^network unet: the layer layer4_0_conv1_pad has padding=.* segmentation_models_pytorch's Unet\.$",
        ),
        (
            lambda: unet(activation="tanh"),
            NotForSmp,
            r"^network unet: the layer tanh has .* linear or sigmoid or softmax as in ",
        ),
    ],
    ids=["pre-activation", "second output", "shallow", "four blocks", "dilated", "tanh"],
)
def test_network_that_smp_cannot_represent_is_an_error(build, error, text, tmp_path):
    with pytest.raises(error, match=text):
        save_smp(build(), tmp_path / "network.safetensors")
    assert not any(tmp_path.iterdir())


def test_functional_model_and_safetensors_file_are_required(tmp_path):
    with pytest.raises(WrongArgument, match=r"^file='network\.pth': .*\.safetensors\.$"):
        save_smp(keras.Sequential(), "network.pth")
    with pytest.raises(WrongArgument, match=r"^network=.*: expected a functional Keras model\.$"):
        save_smp(keras.Sequential(), tmp_path / "network.safetensors")


def test_error_without_safetensors_names_the_package(trained_network, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(MissingPackage, match=r"^file='.*network\.safetensors' requires safetensors "):
        save_smp(trained_network, tmp_path / "network.safetensors")


RESNET18 = {f"encoder.layer{stage}.{unit}.conv1.weight": (1, 1, 3, 3) for stage in (1, 2, 3, 4) for unit in (0, 1)}
ENDS = {"encoder.conv1.weight": (64, 13, 7, 7), "segmentation_head.0.weight": (6, 16, 3, 3)}
BLOCKS = {
    f"decoder.blocks.{block}.conv{number}.0.weight": (10 + block, 7, 3, 3) for block in range(5) for number in (1, 2)
}
UNET = RESNET18 | ENDS | BLOCKS


def without(excluded):
    return {name: shape for name, shape in UNET.items() if name != excluded}


def test_width_of_the_head_determines_the_merge_policy():
    fpn = RESNET18 | ENDS | {"decoder.p5.weight": (256, 512, 1, 1)}
    for width, policy in ((16, "add"), (4, "cat")):
        network = identify(fpn | {"decoder.seg_blocks.0.block.0.block.0.weight": (width, 256, 3, 3)}, source=SOURCE)
        assert network.options["decoder_merge_policy"] == policy
        assert (network.options["decoder_segmentation_channels"], network.options["decoder_pyramid_channels"]) == (
            width,
            256,
        )


def test_atrous_pyramid_must_be_separable():
    deeplab = RESNET18 | ENDS | {"decoder.aspp.0.project.0.weight": (256, 1280, 1, 1)}
    with pytest.raises(UnknownSmpNetwork, match=r"decoder_aspp_separable is False, not True;"):
        identify(deeplab, source=SOURCE)


def test_network_is_identified_by_shapes():
    network = identify(UNET, source=SOURCE)
    assert (network.architecture, network.encoder, network.channels, network.classes) == ("Unet", "resnet18", 13, 6)
    assert network.options["decoder_channels"] == [10, 11, 12, 13, 14]
    assert network.options["decoder_use_norm"] is False
    bottlenecks = {name: shape for name, shape in UNET.items() if "layer" not in name}
    units = enumerate((3, 4, 23, 3), start=1)
    bottlenecks |= {f"encoder.layer{stage}.{unit}.conv3.weight": () for stage, count in units for unit in range(count)}
    assert identify(bottlenecks, source=SOURCE).encoder == "resnet101"


@pytest.mark.parametrize(
    ("shapes", "found"),
    [
        (
            without("decoder.blocks.0.conv1.0.weight"),
            r"found no tensor decoder\.blocks\.0\.conv1\.0\.weight or decoder",
        ),
        (
            without("encoder.layer3.1.conv1.weight"),
            "the encoder is none of resnet18, resnet34, resnet50, resnet101, resnet152;",
        ),
        (without("segmentation_head.0.weight"), r"segmentation_head\.0\.weight is not the kernel"),
        (UNET | {"encoder.conv1.weight": (64,)}, r"encoder\.conv1\.weight is not the kernel"),
        (without("decoder.blocks.4.conv1.0.weight"), "encoder_depth is 4, not 5;"),
        (without("decoder.blocks.1.conv2.0.weight"), "a kernel is missing or has no channels;"),
        (UNET | {"segmentation_head.0.weight": (0, 16, 3, 3)}, "a kernel is missing or has no channels;"),
    ],
)
def test_shapes_of_an_unsupported_network_are_an_error(shapes, found):
    with pytest.raises(UnknownSmpNetwork, match=rf"^file='a\.pth': {found}"):
        identify(shapes, source=SOURCE)


def test_given_architecture_must_match_the_tensors():
    assert identify(UNET, architecture="Unet", source=SOURCE).architecture == "Unet"
    with pytest.raises(UnknownSmpNetwork, match=r"^file='a\.pth': found no tensor decoder\.p5\.weight;"):
        identify(UNET, architecture="FPN", source=SOURCE)
    with pytest.raises(UnknownChoice, match=r"^architecture='Unett' is not known; .* Did you mean 'Unet'\?$"):
        identify(UNET, architecture="Unett", source=SOURCE)


@pytest.fixture
def hub(tmp_path):
    """Write a folder of smp with a config and some tensors of a Unet."""

    def write(**config):
        save_file({name: np.zeros(shape, "float32") for name, shape in UNET.items()}, tmp_path / "model.safetensors")
        (tmp_path / "config.json").write_text(json.dumps({"_model_class": "Unet"} | config))
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"decoder_interpolation": "bilinear"}, "decoder_interpolation is 'bilinear', not 'nearest';"),
        ({"decoder_use_norm": {"type": "batchnorm", "eps": 0.1}}, r"decoder_use_norm is \{.*\}, not True or"),
        ({"aux_params": {"classes": 2}}, "aux_params is .*, not None;"),
        ({"activation": "tanh"}, "activation is 'tanh', not None or"),
        ({"_model_class": "FPN"}, r"config\.json .* a Unet;"),
    ],
)
def test_unsupported_value_in_the_config_is_an_error(hub, config, found):
    with pytest.raises(UnknownSmpNetwork, match=rf"model\.safetensors': {found}"):
        load_smp(hub(**config))


def test_config_that_is_not_json_is_an_error(hub):
    folder = hub()
    (folder / "config.json").write_text("[" * 10**5)
    with pytest.raises(UnknownSmpNetwork, match=r"model\.safetensors': config\.json .* a Unet;"):
        load_smp(folder)


def test_activation_is_checked_before_the_file_is_read():
    with pytest.raises(
        UnknownChoice, match=r"^activation='softmax2d' is not known; expected one of linear, sigmoid, so"
    ):
        load_smp("nowhere.pth", activation="softmax2d")
