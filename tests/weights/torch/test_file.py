"""Reading of PyTorch files, errors for unsafe and damaged ones, and loading of torchvision's ResNets."""

import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

from maskwright.errors import MissingPackage
from maskwright.networks.resnet_v1 import build_resnet_v1
from maskwright.weights.torch import file as torch_file
from maskwright.weights.torch.encoders import load_torch_encoder
from maskwright.weights.torch.file import (
    MissingTorchFile,
    NoStateDict,
    TorchFileTooLarge,
    UnreadableTorchFile,
    read_tensors,
)
from maskwright.weights.torch.names import NoCounterpart, TensorMismatch
from tests.networks.randomise import infer

torch = pytest.importorskip("torch", reason="torch is not installed")
from tests.weights.torch_resnet import randomised_resnet  # noqa: E402  it needs torch

UNITS = (1, 2, 1, 1)  # per stage
VALUES = {"conv1.weight": torch.arange(6.0).reshape(2, 3), "bn1.num_batches_tracked": torch.tensor(5)}


def saved(path, content):
    torch.save(content, path)
    return path


@pytest.fixture(scope="module")
def torchvision_resnet():
    return randomised_resnet(UNITS)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).normal(size=(2, 64, 96, 3)).astype("float32")


@pytest.fixture(scope="module")
def torchvision_file(torchvision_resnet, tmp_path_factory):
    path = tmp_path_factory.mktemp("torchvision") / "resnet.safetensors"
    save_file({name: tensor.numpy() for name, tensor in torchvision_resnet.state_dict().items()}, path)
    return path


def test_loaded_resnet_has_the_features_of_torch(torchvision_resnet, torchvision_file, images):
    network = build_resnet_v1(units=UNITS, input_shape=(64, 96, 3))
    load_torch_encoder(network, torchvision_file)
    with torch.inference_mode():
        expected = torchvision_resnet.features(torch.from_numpy(images).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(infer(network, images), expected, atol=1e-4)


def test_loaded_classifier_has_the_probabilities_of_torch(torchvision_resnet, images, tmp_path):
    network = build_resnet_v1(units=UNITS, include_top=True, classes=7, input_shape=(64, 96, 3))
    load_torch_encoder(network, saved(tmp_path / "resnet.pth", torchvision_resnet.state_dict()))
    with torch.inference_mode():
        expected = torchvision_resnet(torch.from_numpy(images).permute(0, 3, 1, 2)).softmax(dim=1).numpy()
    np.testing.assert_allclose(infer(network, images), expected, atol=1e-5)


def test_missing_classifier_bias_is_an_error(torchvision_resnet, tmp_path):
    network = build_resnet_v1(units=UNITS, include_top=True, classes=7, input_shape=(64, 96, 3))
    state = {name: tensor for name, tensor in torchvision_resnet.state_dict().items() if name != "fc.bias"}
    with pytest.raises(TensorMismatch, match=r"^encoder_weights='.*r\.pth': .* resnet_v1: fc\.bias is missing\."):
        load_torch_encoder(network, saved(tmp_path / "r.pth", state), argument="encoder_weights")


def test_unexpected_tensors_of_a_deeper_resnet_are_listed(torchvision_file):
    network = build_resnet_v1(units=(1, 1, 1, 1), input_shape=(64, 96, 3))
    with pytest.raises(TensorMismatch, match=r"layer2\.1\.bn1\.bias is unexpected; .* and 4 more\."):
        load_torch_encoder(network, torchvision_file)


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "model.", "module._orig_mod."])
def test_wrappers_and_prefixes_of_a_state_dict_are_removed(tmp_path, wrapper, prefix):
    state = {f"{prefix}{name}": tensor for name, tensor in VALUES.items()}
    file = saved(tmp_path / "checkpoint.pt", {"epoch": 3, wrapper: state, "optimizer": {"lr": 0.1}})
    tensors = read_tensors(file)
    assert list(tensors) == ["conv1.weight"]
    np.testing.assert_array_equal(tensors["conv1.weight"], [[0, 1, 2], [3, 4, 5]])


def test_lightning_checkpoint_is_read_without_prefix_and_statistics(tmp_path):
    state = {f"model.{name}": tensor for name, tensor in VALUES.items()}
    checkpoint = {"epoch": 3, "pytorch-lightning_version": "2.5.1", "hyper_parameters": {"arch": "Unet"}, "loops": {}}
    statistics = {"mean": torch.zeros(1, 3, 1, 1), "std": torch.ones(1, 3, 1, 1)}
    file = saved(tmp_path / "epoch=3.ckpt", checkpoint | {"state_dict": statistics | state, "optimizer_states": [{}]})
    assert list(read_tensors(file)) == ["conv1.weight"]


def test_pixel_statistics_are_removed_only_with_a_prefix(tmp_path):
    statistics = {"mean": torch.zeros(1, 3, 1, 1), "std": torch.ones(1, 3, 1, 1)}
    lightning = {f"model.{name}": tensor for name, tensor in VALUES.items()}
    assert list(read_tensors(saved(tmp_path / "a.pth", lightning | statistics))) == ["conv1.weight"]
    assert list(read_tensors(saved(tmp_path / "b.pth", VALUES | statistics))) == ["conv1.weight", "mean", "std"]


def test_prefix_of_only_some_tensors_is_kept(tmp_path):
    file = saved(tmp_path / "a.pth", {"model.a": torch.ones(1), "b": torch.ones(1)})
    assert list(read_tensors(file)) == ["model.a", "b"]


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float64])
def test_all_float_types_are_read_as_float32(tmp_path, suffix, kind):
    from safetensors.torch import save_file as save_torch_file

    state = {"a": torch.tensor([[0.5, -3.0]], dtype=kind)}
    file = tmp_path / f"halves{suffix}"
    save_torch_file(state, file) if suffix == ".safetensors" else torch.save(state, file)
    tensor = read_tensors(file)["a"]
    assert tensor.dtype == np.float32
    np.testing.assert_array_equal(tensor, [[0.5, -3.0]])


class TouchOnLoad:
    """Object whose pickle creates a file when it is loaded unsafely."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_pickle_with_code_is_an_error_and_the_code_is_not_run(tmp_path):
    created = tmp_path / "ran"
    file = saved(tmp_path / "evil.pth", {"state_dict": VALUES, "hook": TouchOnLoad(created)})
    with pytest.raises(UnreadableTorchFile, match=r"^file='.*evil\.pth': .*: \S"):
        read_tensors(file)
    assert not created.exists()


def test_pickled_module_is_an_error(tmp_path):
    with pytest.raises(UnreadableTorchFile, match=r"whole\.pt': .*: \S"):
        read_tensors(saved(tmp_path / "whole.pt", torch.nn.Linear(2, 3)))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("damage", ["cut", "empty", "noise"])
def test_error_of_a_damaged_file_names_it_and_the_reason(tmp_path, suffix, damage):
    file = tmp_path / f"damaged{suffix}"
    if suffix == ".safetensors":
        save_file({"a": np.ones(999)}, file)
    else:
        torch.save({"a": torch.ones(999)}, file)
    content = file.read_bytes()
    noise = np.random.default_rng(2).bytes(len(content))
    file.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "noise": noise}[damage])
    with pytest.raises(UnreadableTorchFile, match=rf"^encoder_weights='.*damaged\{suffix}': .*: \S"):
        read_tensors(file, argument="encoder_weights")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_file_cut_anywhere_is_an_error(tmp_path, suffix):
    file = tmp_path / f"cut{suffix}"
    state = {"a": torch.arange(40.0), "b": torch.ones(3)}
    if suffix == ".safetensors":
        save_file({name: tensor.numpy() for name, tensor in state.items()}, file)
    else:
        torch.save(state, file)
    content = file.read_bytes()
    lengths = [*range(24), *range(24, len(content), 61), *range(len(content) - 24, len(content))]
    for fragment in [*(content[:length] for length in lengths), *(content[-length:] for length in lengths[1:])]:
        file.write_bytes(fragment)
        with pytest.raises(UnreadableTorchFile, match=rf"^file='.*cut\{suffix}': .*: \S"):
            read_tensors(file)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ([torch.ones(1)], "a list"),
        ({}, "nothing"),
        ({3: torch.ones(1)}, "a dict"),
        ({"a": torch.ones(1), "lr": 0.1}, "'lr', a float "),
        ({"a": torch.eye(2).to_sparse()}, "'a', a Tensor "),
        ({"a": torch.ones(1, dtype=torch.complex64)}, "'a', of complex64"),
        ({"a": torch.ones(1, dtype=torch.int8)}, "'a', of int8"),
    ],
)
def test_content_other_than_a_state_dict_is_an_error(tmp_path, content, found):
    with pytest.raises(NoStateDict, match=rf"^file='.*content\.pth': found {found}.*model\.state_dict\(\)"):
        read_tensors(saved(tmp_path / "content.pth", content))


def test_view_larger_than_its_file_is_an_error(tmp_path):
    file = saved(tmp_path / "view.pth", {"a": torch.ones(1).expand(2**40)})
    assert file.stat().st_size < 10_000
    with pytest.raises(TorchFileTooLarge, match=r"view\.pth': .*4398046511104 bytes; .*4294967296\.$"):
        read_tensors(file)


def test_file_above_the_maximum_size_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(torch_file, "MAX_BYTES", 100)
    with pytest.raises(TorchFileTooLarge, match=r"large\.pth': .* \d+ bytes; .* 100\.$"):
        read_tensors(saved(tmp_path / "large.pth", VALUES))


def test_total_size_of_entries_that_share_bytes_is_limited(tmp_path, monkeypatch):
    file = saved(tmp_path / "shared.pth", {"a": torch.ones(1_000)})
    with zipfile.ZipFile(file, "a") as archive:
        total = sum(member.file_size for member in archive.infolist()) + 20 * 4_000
        (large,) = (member for member in archive.infolist() if member.file_size == 4_000)
        archive.filelist += [large] * 20
        archive.comment = b" "  # makes ZipFile write the list of entries again
    monkeypatch.setattr(torch_file, "MAX_BYTES", 20_000)
    assert file.stat().st_size < 20_000
    with pytest.raises(TorchFileTooLarge, match=rf"shared\.pth': .* {total} bytes; .* 20000\.$"):
        read_tensors(file)


def test_compressed_archive_is_an_error(tmp_path):
    plain, compressed = saved(tmp_path / "plain.pth", VALUES), tmp_path / "packed.pth"
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(compressed, "w", zipfile.ZIP_DEFLATED) as target:
        for member in source.infolist():
            target.writestr(member.filename, source.read(member))
    with pytest.raises(UnreadableTorchFile, match=r"packed\.pth': .* compressed\.$"):
        read_tensors(compressed)


@pytest.mark.parametrize("given", ["nowhere.pth", "here.h5", 5, None])
def test_file_must_exist_and_have_a_supported_suffix(tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    Path("here.h5").touch()
    suffixes = r"\.safetensors, \.pth, \.pt, \.bin or \.ckpt"
    with pytest.raises(MissingTorchFile, match=rf"^file={given!r}: .* {suffixes} file\.$"):
        read_tensors(given)


@pytest.mark.parametrize(("suffix", "package"), [(".safetensors", "safetensors"), (".pth", "torch")])
def test_error_without_the_reader_names_the_package(tmp_path, monkeypatch, suffix, package):
    file = saved(tmp_path / f"a{suffix}", VALUES)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackage, match=rf"{suffix}' requires {package}.* pip install '{package}.*'\.$"):
        read_tensors(file)


def test_torch_with_the_unsafe_weights_only_is_not_used(tmp_path, monkeypatch):
    file = saved(tmp_path / "a.pth", VALUES)
    monkeypatch.setattr(torch, "__version__", torch.torch_version.TorchVersion("2.5.1"))
    with pytest.raises(MissingPackage, match=r"requires torch>=2\.6 \(installed: 2\.5\.1\)"):
        read_tensors(file)


def test_layer_without_counterpart_in_torchvision_is_an_error(torchvision_file):
    image = keras.Input((64, 96, 3))
    network = keras.Model(image, keras.layers.Conv2D(3, 3, name="stem")(image), name="other")
    with pytest.raises(NoCounterpart, match=r"^network other: the layer stem \(Conv2D\) .* torchvision's ResNet\.$"):
        load_torch_encoder(network, torchvision_file)
