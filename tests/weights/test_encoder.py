"""Loading of encoder weights from published files, served by this machine, and from local files."""

import hashlib
import os
import re
import socket
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from numpy.testing import assert_allclose, assert_array_equal
from safetensors.numpy import save_file

from maskwright.errors import UnknownChoice, WrongArgument
from maskwright.networks import EfficientNetLite0, EfficientNetLite1, ResNet18, build_resnet
from maskwright.weights import encoder as encoder_module
from maskwright.weights import published as published_module
from maskwright.weights.catalogue import PACKAGED, PUBLISHED
from maskwright.weights.download import UnreachableWeights, WrongDigest
from maskwright.weights.encoder import UnpublishedFirstUnit, load_encoder_weights, load_published
from maskwright.weights.input_channels import adapt_kernel
from maskwright.weights.keras_file import UnusableWeights
from maskwright.weights.packaged import installed_file
from maskwright.weights.published import OtherWeights, find_local, published_file
from maskwright.weights.segmentation_models.load import LayerMismatch
from maskwright.weights.torch.encoders import load_published_torch_encoder
from maskwright.weights.torch.names import TensorMismatch
from maskwright.weights.torch.state_dict import read_state_dict
from tests.networks.randomise import difference, infer, randomise
from tests.networks.timm_names import efficientnet_pytorch_state, timm_state
from tests.weights.keras2 import write_keras2
from tests.weights.server import Response, serving

ROW = ("resnet18", "imagenet", False)
LITE1 = ("efficientnetlite1", "imagenet", False)


def encoder(channels=3):
    """Return a small network with the layers that loading requires: normalisation and first projection."""
    image = keras.Input((None, None, channels), name="data")
    x = layers.BatchNormalization(scale=False, name="bn_data")(image)
    x = layers.Conv2D(4, 3, use_bias=False, name="conv0")(x)
    return keras.Model(image, layers.Conv2D(5, 1, name="stage1_unit1_sc")(x), name="resnet18")


@pytest.fixture(scope="module")
def rgb():
    return randomise(encoder())


@pytest.fixture(scope="module")
def keras2_file(rgb, tmp_path_factory):
    file = tmp_path_factory.mktemp("published") / PUBLISHED[ROW].name
    write_keras2(rgb, file)
    return file


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Return a function that redirects a catalogue entry to a server; the cache is an empty folder."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("MASKWRIGHT_OFFLINE", raising=False)

    def publish(server, key):
        digest = hashlib.new(PUBLISHED[key].algorithm, server.content).hexdigest()
        row = replace(PUBLISHED[key], base=server.address, digest=digest)
        monkeypatch.setattr(published_module, "PUBLISHED", {**published_module.PUBLISHED, key: row})

    return publish


def kernel_of(network):
    return network.get_layer("conv0").kernel.numpy()


def assert_equal_weights(network, expected):
    for weight, expected_weight in zip(network.weights, expected.weights, strict=True):
        assert_array_equal(weight.numpy(), expected_weight.numpy(), err_msg=weight.path)


def test_published_weights_are_downloaded_once(rgb, keras2_file, publish, tmp_path):
    with serving(keras2_file.read_bytes(), Response(send=1_000), Response()) as server:
        publish(server, ROW)
        for _ in range(2):
            network = encoder()
            load_encoder_weights(network, "resnet18", "imagenet")
            assert_equal_weights(network, rgb)
    assert server.ranges == [None, "bytes=1000-"]
    assert (tmp_path / "keras" / "models" / keras2_file.name).is_file()


@pytest.mark.parametrize("channels", [1, 4])
def test_published_weights_are_adapted_to_other_channels(rgb, keras2_file, publish, channels):
    with serving(keras2_file.read_bytes()) as server:
        publish(server, ROW)
        network = encoder(channels)
        load_encoder_weights(network, "resnet18", "imagenet")
    assert_allclose(kernel_of(network), adapt_kernel(kernel_of(rgb), channels), rtol=1e-6)
    assert network.get_layer("bn_data").moving_mean.shape == (channels,)
    for ours, theirs in zip(network.weights[4:], rgb.weights[4:], strict=True):
        assert_array_equal(ours.numpy(), theirs.numpy(), err_msg=ours.path)


def test_features_equal_those_of_the_published_library(publish, tmp_path):
    for module in ("classification_models", "tf_keras", "tensorflow"):
        if find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    writer = Path(__file__).with_name("published_writer.py")
    environment = os.environ | {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([sys.executable, writer, tmp_path], env=environment, check=True, capture_output=True)
    expected = np.load(tmp_path / "expected.npz")

    networks = {}
    for top, size in ((False, (64, 96, 3)), (True, (224, 224, 3))):
        key = ("resnet18", "imagenet", top)
        with serving((tmp_path / PUBLISHED[key].name).read_bytes()) as server:
            publish(server, key)
            networks[top] = ResNet18(first_unit="projection", include_top=top, input_shape=size)
            load_published(networks[top], "resnet18", "imagenet", include_top=top)
    assert difference(infer(networks[False], expected["images"]), expected["features"]) < 1e-4
    assert_array_equal(networks[True].get_layer("fc1").kernel.numpy(), expected["fc1_kernel"])


def test_torchvision_file_is_downloaded_and_read(publish, rgb, tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(
        encoder_module, "load_published_torch_encoder", lambda *network, **named: read.append((*network, named))
    )
    with serving(b"tensors") as server:
        publish(server, ("resnet50_v1", "imagenet", False))
        load_encoder_weights(rgb, "resnet50_v1", "imagenet", argument="given")
    path = tmp_path / "keras" / "models" / "resnet50-0676ba61.pth"
    assert read == [(rgb, {"file": path, "argument": "given"})]
    assert path.read_bytes() == b"tensors"


def test_keras_file_with_a_wrong_digest_is_deleted(publish, tmp_path):
    key = ("vgg16", "imagenet", False)
    with serving(b"published content") as server:
        publish(server, key)
        server.content = b"something else"
        message = rf"^{server.address}vgg16_\w+\.h5: found the MD5 \w+; expected \w+\. "
        with pytest.raises(WrongDigest, match=message):
            load_encoder_weights(encoder(), "vgg16", "imagenet")
    assert not list(tmp_path.rglob("*.h5"))


def test_error_states_where_to_copy_a_keras_file(publish, tmp_path):
    with serving(b"", Response(status=404)) as server:
        publish(server, ("mobilenet", "imagenet", False))
        message = rf"404 .* copy the file to {tmp_path}/keras/models/mobilenet_1_0_224_tf_no_top\.h5"
        with pytest.raises(UnreachableWeights, match=message):
            load_encoder_weights(encoder(), "mobilenet", "imagenet")


@pytest.mark.parametrize("load", [load_encoder_weights, load_published])
def test_error_for_an_unknown_backbone_suggests_the_nearest(load):
    with pytest.raises(UnknownChoice, match=r"^name='resnet_18' is not known; .* Did you mean 'resnet18'\?$"):
        load(keras.Sequential(), "resnet_18", "imagenet")


def test_published_weights_require_a_first_projection():
    network = build_resnet(units=(2, 2, 2, 2), include_top=False, input_shape=(64, 64, 3))
    with pytest.raises(
        UnpublishedFirstUnit,
        match=r"^encoder_weights='imagenet': .* resnet18 .*first_unit='projection'.*first_unit='identity'",
    ):
        load_encoder_weights(network, "resnet18", "imagenet")


def test_bottleneck_resnets_need_no_first_unit(publish, monkeypatch):
    network = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(2, 1, name="stage1_unit1_sc")])
    monkeypatch.setattr(published_module, "fetch", lambda file: Path(file.name))
    with pytest.raises(WrongArgument):  # raised after the check of the first unit, since the file does not exist
        load_published(network, "resnet50", "imagenet")


@pytest.mark.parametrize(("top", "allowed"), [(False, "imagenet, imagenet11k"), (True, "imagenet, imagenet11k")])
def test_error_for_an_unknown_data_set_lists_the_published_ones(top, allowed):
    with pytest.raises(UnknownChoice, match=rf"^weights='imagenet21k' .* one of {allowed}\. Did you mean 'imagenet11k"):
        load_published(keras.Sequential(), "resnet152", "imagenet21k", include_top=top)


def test_classifiers_of_keras_applications_are_not_published():
    with pytest.raises(UnknownChoice, match=r"^weights='imagenet' is not known"):
        load_published(keras.Sequential(), "vgg16", "imagenet", include_top=True)


def test_weights_of_keras_applications_are_loaded_by_keras(rgb, publish, tmp_path, monkeypatch):
    file = tmp_path / "keras" / "models" / PUBLISHED["mobilenetv2", "imagenet", False].name
    monkeypatch.setattr(encoder_module, "published_encoder", lambda *arguments: {("mobilenetv2", file): rgb}[arguments])
    network = encoder(4)
    with serving(b"numbers") as server:
        publish(server, ("mobilenetv2", "imagenet", False))
        load_encoder_weights(network, "mobilenetv2", "imagenet")
    assert_allclose(kernel_of(network), adapt_kernel(kernel_of(rgb), 4), rtol=1e-6)
    assert_array_equal(network.weights[-1].numpy(), rgb.weights[-1].numpy())


@pytest.mark.parametrize("name", ["encoder.weights.h5", "encoder.h5"])
@pytest.mark.parametrize("channels", [3, 2])
def test_local_file_is_loaded_and_adapted(rgb, tmp_path, name, channels):
    file = tmp_path / name
    rgb.save_weights(file) if name.endswith(".weights.h5") else write_keras2(rgb, file)
    network = encoder(channels)
    load_encoder_weights(network, None, file)
    expected = kernel_of(rgb) if channels == 3 else kernel_of(rgb)[:, :, :2] * 1.5
    assert_allclose(kernel_of(network), expected, rtol=1e-6)
    assert_array_equal(network.weights[-1].numpy(), rgb.weights[-1].numpy())


def test_weights_for_four_channels_are_not_adapted(tmp_path):
    four = randomise(encoder(4))
    four.save_weights(tmp_path / "four.weights.h5")
    loaded = encoder(4)
    load_encoder_weights(loaded, "resnet18", tmp_path / "four.weights.h5")
    assert_equal_weights(loaded, four)


@pytest.mark.parametrize("channels", [3, 4])
def test_error_for_a_file_of_another_network_names_the_encoder(tmp_path, channels):
    image = keras.Input((8, 8, 3))
    keras.Model(image, layers.Conv2D(5, 3)(image)).save_weights(tmp_path / "other.weights.h5")
    network = encoder(channels)
    with pytest.raises(
        UnusableWeights, match=r"^encoder_weights='.*other\.weights\.h5': .* for the network resnet18\."
    ):
        load_encoder_weights(network, "resnet18", tmp_path / "other.weights.h5")


def test_mismatch_states_the_channels_of_the_encoder(tmp_path):
    write_keras2(encoder(5), tmp_path / "five.h5")
    with pytest.raises(LayerMismatch, match=r"layer bn_data has beta \(5\).* resnet18 .* beta \(4\)"):
        load_encoder_weights(encoder(4), "resnet18", tmp_path / "five.h5")


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        (
            "resnet152",
            "imagenet12k",
            r"='imagenet12k': expected 'imagenet', 'imagenet11k', the path .* Did you mean 'im",
        ),
        (
            "resnet18",
            "nowhere.weights.h5",
            r"='nowhere\.weights\.h5': expected 'imagenet', the path of an existing file",
        ),
        ("resnet18", 5, r"=5: expected 'imagenet', the path of .*\.weights\.h5, \.h5, .*\.pth.*, or None\.$"),
        ("resnet18", Path(__file__), r"test_encoder\.py': expected"),
        (None, "imagenet", r"='imagenet': expected the path .* Published weights are for named backbones"),
    ],
)
def test_error_lists_data_sets_and_file_suffixes(name, weights, message):
    with pytest.raises(WrongArgument, match=rf"^encoder_weights{message}|^encoder_weights='.*{message}"):
        load_encoder_weights(keras.Sequential(), name, weights)


# EfficientNet-Lite: files of timm or efficientnet_pytorch, in a package, from a server or on the disk.

CLASSIFIER = {
    "conv_head.weight": (1280, 320, 1, 1),
    **{f"bn2.{part}": (1280,) for part in ("weight", "bias", "running_mean", "running_var")},
    "classifier.weight": (1000, 1280),
    "classifier.bias": (1000,),
}


@pytest.fixture(scope="module")
def lite1():
    return randomise(EfficientNetLite1())


@pytest.fixture(scope="module")
def lite1_state(lite1):
    """Return the tensors of a file of timm, with the classifier and the batch counters."""
    counters = {f"{name}.num_batches_tracked": np.array(7) for name in ("bn1", "bn2", "blocks.0.0.bn1")}
    classifier = {name: np.full(shape, 0.5, "float32") for name, shape in CLASSIFIER.items()}
    return timm_state(lite1) | classifier | counters


def save_torch(state, file, **options):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    torch.save({name: torch.from_numpy(values) for name, values in state.items()}, file, **options)
    return file


def test_packaged_weights_need_neither_network_nor_torch(tmp_path, monkeypatch):
    package = PACKAGED["efficientnetlite0", "imagenet"]
    if (file := installed_file(package)) is None:
        pytest.skip(f"{package.package} is not installed")

    def connect(*_, **__):
        raise AssertionError("connected to the network")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "torch", None)  # its import is an error
    network = EfficientNetLite0()
    load_encoder_weights(network, "efficientnetlite0", "imagenet", sha256=package.sha256)
    assert find_local("efficientnetlite0", "imagenet") == file
    tensors = read_state_dict(file)
    renamed = efficientnet_pytorch_state(timm_state(network))
    assert len(renamed) == 240
    for name, values in renamed.items():
        assert_array_equal(values, tensors[name], err_msg=name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("channels", "zipped"), [(1, True), (3, False), (13, True)])
def test_timm_file_is_downloaded_and_adapted(lite1, lite1_state, publish, tmp_path, monkeypatch, channels, zipped):
    file = save_torch(lite1_state, tmp_path / "published.pth", _use_new_zipfile_serialization=zipped)
    network = EfficientNetLite1(input_shape=(None, None, channels))
    monkeypatch.setitem(sys.modules, "torch", None)
    with serving(file.read_bytes()) as server:
        publish(server, LITE1)
        load_encoder_weights(network, "efficientnetlite1", "imagenet")
        assert len(server.requests) == 1
    stem, published_stem = (net.get_layer("conv_stem").kernel.numpy() for net in (network, lite1))
    expected = published_stem if channels == 3 else adapt_kernel(published_stem, channels)
    assert_allclose(stem, expected, rtol=1e-6)
    for ours, theirs in zip(network.weights[1:], lite1.weights[1:], strict=True):
        assert_array_equal(ours.numpy(), theirs.numpy(), err_msg=ours.path)


@pytest.mark.parametrize("rename", [dict, efficientnet_pytorch_state], ids=["timm", "efficientnet_pytorch"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_local_file_is_loaded_under_both_names(lite1, lite1_state, tmp_path, suffix, rename):
    file = tmp_path / f"lite1{suffix}"
    state = rename(lite1_state)
    save_file(state, file) if suffix == ".safetensors" else save_torch(state, file)
    network = EfficientNetLite1()
    load_encoder_weights(network, "efficientnetlite1", file)
    assert_equal_weights(network, lite1)


def test_file_of_another_size_is_one_error_and_loads_nothing():
    package = PACKAGED["efficientnetlite2", "imagenet"]
    if (file := installed_file(package)) is None:
        pytest.skip(f"{package.package} is not installed")
    network = EfficientNetLite0()
    before = network.get_layer("conv_stem").kernel.numpy()
    with pytest.raises(
        TensorMismatch,
        match=rf"^file='{file}': does not fit the network efficientnetlite0: .*; and \d+ more\. Nothing was loaded\.$",
    ):
        load_published_torch_encoder(network, file)
    assert_array_equal(network.get_layer("conv_stem").kernel.numpy(), before)


@pytest.mark.parametrize("name", [f"_blocks.{'9' * 5_000}._bn0.weight", "_blocks.99._bn0.weight", "_bn0.weight"])
def test_additional_tensor_is_an_error(lite1, tmp_path, name):
    save_file(timm_state(lite1) | {name: np.ones(32, "float32")}, tmp_path / "names.safetensors")
    with pytest.raises(TensorMismatch, match=rf"{re.escape(name)} is unexpected"):
        load_encoder_weights(EfficientNetLite1(), "efficientnetlite1", tmp_path / "names.safetensors")


def test_required_digest_excludes_a_packaged_file(publish, tmp_path):
    package = PACKAGED["efficientnetlite0", "imagenet"]
    with serving(b"other") as server:
        publish(server, ("efficientnetlite0", "imagenet", False))
        sha256 = hashlib.sha256(b"other").hexdigest()
        assert published_file("efficientnetlite0", "imagenet", sha256=sha256).read_bytes() == b"other"
        with pytest.raises(OtherWeights, match=rf"expected {'0' * 64}"):
            published_file("efficientnetlite0", "imagenet", sha256="0" * 64)
    assert package.sha256 != sha256
