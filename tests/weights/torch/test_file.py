"""Files of torch: what is read out of them, what is refused, and ResNets of torchvision's names."""

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
from maskwright.weights.torch.file import (
    MissingTorchFile,
    NoStateDict,
    TorchFileTooLarge,
    UnreadableTorchFile,
    load_resnet_v1,
    read_tensors,
)
from maskwright.weights.torch.names import TensorMismatch
from tests.networks.randomise import infer

torch = pytest.importorskip("torch", reason="torch is not installed")
from tests.weights.torch_resnet import randomised_resnet  # noqa: E402  it needs torch

UNITS = (1, 2, 1, 1)
VALUES = {"conv1.weight": torch.arange(6.0).reshape(2, 3), "bn1.num_batches_tracked": torch.tensor(5)}


def written(path, held):
    torch.save(held, path)
    return path


@pytest.fixture(scope="module")
def peer():
    return randomised_resnet(UNITS)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).normal(size=(2, 64, 96, 3)).astype("float32")


@pytest.fixture(scope="module")
def peer_file(peer, tmp_path_factory):
    path = tmp_path_factory.mktemp("peer") / "resnet.safetensors"
    save_file({name: tensor.numpy() for name, tensor in peer.state_dict().items()}, path)
    return path


def test_a_resnet_answers_as_it_did_in_torch(peer, peer_file, images):
    network = build_resnet_v1(units=UNITS, input_shape=(64, 96, 3))
    load_resnet_v1(network, peer_file)
    with torch.inference_mode():
        expected = peer.features(torch.from_numpy(images).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(infer(network, images), expected, atol=1e-4)


def test_a_resnet_with_its_classifier_answers_as_it_did_in_torch(peer, images, tmp_path):
    network = build_resnet_v1(units=UNITS, include_top=True, classes=7, input_shape=(64, 96, 3))
    load_resnet_v1(network, written(tmp_path / "resnet.pth", peer.state_dict()))
    with torch.inference_mode():
        expected = peer(torch.from_numpy(images).permute(0, 3, 1, 2)).softmax(dim=1).numpy()
    np.testing.assert_allclose(infer(network, images), expected, atol=1e-5)


def test_a_classifier_is_not_left_unfilled(peer, tmp_path):
    network = build_resnet_v1(units=UNITS, include_top=True, classes=7, input_shape=(64, 96, 3))
    state = {name: tensor for name, tensor in peer.state_dict().items() if name != "fc.bias"}
    with pytest.raises(
        TensorMismatch, match=r"^encoder_weights='.*r\.pth' .*network resnet_v1: it lacks fc\.bias\. Noth"
    ):
        load_resnet_v1(network, written(tmp_path / "r.pth", state), argument="encoder_weights")


def test_a_deeper_resnet_is_refused_by_the_tensors_it_has_more(peer_file):
    network = build_resnet_v1(units=(1, 1, 1, 1), input_shape=(64, 96, 3))
    with pytest.raises(TensorMismatch, match=r"layer2\.1\.bn1\.bias has no place; .* and 4 more\. Nothing was loaded"):
        load_resnet_v1(network, peer_file)


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "model.", "module._orig_mod."])
def test_what_surrounds_a_state_dict_is_taken_off(tmp_path, wrapper, prefix):
    state = {f"{prefix}{name}": tensor for name, tensor in VALUES.items()}
    file = written(tmp_path / "checkpoint.pt", {"epoch": 3, wrapper: state, "optimizer": {"lr": 0.1}})
    tensors = read_tensors(file)
    assert list(tensors) == ["conv1.weight"]
    np.testing.assert_array_equal(tensors["conv1.weight"], [[0, 1, 2], [3, 4, 5]])


def test_a_checkpoint_of_lightning_is_a_state_dict_with_its_name_in_front(tmp_path):
    state = {f"model.{name}": tensor for name, tensor in VALUES.items()}
    held = {"epoch": 3, "pytorch-lightning_version": "2.5.1", "hyper_parameters": {"arch": "Unet"}, "loops": {}}
    statistics = {"mean": torch.zeros(1, 3, 1, 1), "std": torch.ones(1, 3, 1, 1)}
    file = written(tmp_path / "epoch=3.ckpt", held | {"state_dict": statistics | state, "optimizer_states": [{}]})
    assert list(read_tensors(file)) == ["conv1.weight"]


def test_pixel_statistics_go_with_the_prefix_beside_them_and_stay_without_one(tmp_path):
    beside = {"mean": torch.zeros(1, 3, 1, 1), "std": torch.ones(1, 3, 1, 1)}
    lightning = {f"model.{name}": tensor for name, tensor in VALUES.items()}
    assert list(read_tensors(written(tmp_path / "a.pth", lightning | beside))) == ["conv1.weight"]
    assert list(read_tensors(written(tmp_path / "b.pth", VALUES | beside))) == ["conv1.weight", "mean", "std"]


def test_a_prefix_that_not_all_share_is_a_name(tmp_path):
    file = written(tmp_path / "a.pth", {"model.a": torch.ones(1), "b": torch.ones(1)})
    assert list(read_tensors(file)) == ["model.a", "b"]


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float64])
def test_floats_of_every_precision_come_as_float32(tmp_path, suffix, kind):
    from safetensors.torch import save_file as save_torch_file

    state = {"a": torch.tensor([[0.5, -3.0]], dtype=kind)}
    file = tmp_path / f"halves{suffix}"
    save_torch_file(state, file) if suffix == ".safetensors" else torch.save(state, file)
    tensor = read_tensors(file)["a"]
    assert tensor.dtype == np.float32
    np.testing.assert_array_equal(tensor, [[0.5, -3.0]])


class Touches:
    """A pickle that makes a file when it is read by a reader that runs it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(tmp_path):
    mark = tmp_path / "ran"
    file = written(tmp_path / "evil.pth", {"state_dict": VALUES, "hook": Touches(mark)})
    with pytest.raises(UnreadableTorchFile, match=r"^file='.*evil\.pth' cannot be read as tensors: "):
        read_tensors(file)
    assert not mark.exists()


def test_a_whole_module_is_refused(tmp_path):
    with pytest.raises(UnreadableTorchFile, match=r"cannot be read as tensors: "):
        read_tensors(written(tmp_path / "whole.pt", torch.nn.Linear(2, 3)))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("damage", ["cut", "empty", "noise"])
def test_a_damaged_file_is_named(tmp_path, suffix, damage):
    file = tmp_path / f"damaged{suffix}"
    if suffix == ".safetensors":
        save_file({"a": np.ones(999)}, file)
    else:
        torch.save({"a": torch.ones(999)}, file)
    whole = file.read_bytes()
    noise = np.random.default_rng(2).bytes(len(whole))
    file.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "noise": noise}[damage])
    with pytest.raises(
        UnreadableTorchFile, match=rf"^encoder_weights='.*damaged\{suffix}' cannot be read as tensors: \S"
    ):
        read_tensors(file, argument="encoder_weights")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file_cut_at_either_end_at_any_length_is_named(tmp_path, suffix):
    file = tmp_path / f"cut{suffix}"
    state = {"a": torch.arange(40.0), "b": torch.ones(3)}
    if suffix == ".safetensors":
        save_file({name: tensor.numpy() for name, tensor in state.items()}, file)
    else:
        torch.save(state, file)
    whole = file.read_bytes()
    lengths = [*range(24), *range(24, len(whole), 61), *range(len(whole) - 24, len(whole))]
    for kept in [*(whole[:length] for length in lengths), *(whole[-length:] for length in lengths[1:])]:
        file.write_bytes(kept)
        with pytest.raises(UnreadableTorchFile, match=rf"^file='.*cut\{suffix}' cannot be read as tensors: \S"):
            read_tensors(file)


@pytest.mark.parametrize(
    ("held", "found"),
    [
        ([torch.ones(1)], "found a list"),
        ({}, "found nothing"),
        ({3: torch.ones(1)}, "found a dict"),
        ({"a": torch.ones(1), "lr": 0.1}, "found 'lr', a float that is no dense tensor"),
        ({"a": torch.eye(2).to_sparse()}, "found 'a', a Tensor that is no dense tensor"),
        ({"a": torch.ones(1, dtype=torch.complex64)}, "found 'a', of complex64"),
        ({"a": torch.ones(1, dtype=torch.int8)}, "found 'a', of int8"),
    ],
)
def test_what_is_no_state_dict_is_said(tmp_path, held, found):
    with pytest.raises(
        NoStateDict, match=rf"^file='.*held\.pth': expected tensors by name, {found}\. Save model\.state"
    ):
        read_tensors(written(tmp_path / "held.pth", held))


def test_a_view_of_more_than_its_file_is_refused_before_it_is_unpacked(tmp_path):
    file = written(tmp_path / "view.pth", {"a": torch.ones(1).expand(2**40)})
    assert file.stat().st_size < 10_000
    with pytest.raises(
        TorchFileTooLarge, match=r"view\.pth' holds 4398046511104 bytes; expected at most 4294967296\.$"
    ):
        read_tensors(file)


def test_a_large_file_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(torch_file, "LARGEST", 100)
    with pytest.raises(TorchFileTooLarge, match=r"large\.pth' holds \d+ bytes; expected at most 100\.$"):
        read_tensors(written(tmp_path / "large.pth", VALUES))


def test_entries_that_share_their_bytes_are_refused_by_what_they_add_up_to(tmp_path, monkeypatch):
    file = written(tmp_path / "shared.pth", {"a": torch.ones(1_000)})
    with zipfile.ZipFile(file, "a") as archive:
        whole = sum(member.file_size for member in archive.infolist()) + 20 * 4_000
        (large,) = (member for member in archive.infolist() if member.file_size == 4_000)
        archive.filelist += [large] * 20
        archive.comment = b" "  # so that the list of entries is written again
    monkeypatch.setattr(torch_file, "LARGEST", 20_000)
    assert file.stat().st_size < 20_000
    with pytest.raises(TorchFileTooLarge, match=rf"shared\.pth' holds {whole} bytes; expected at most 20000\.$"):
        read_tensors(file)


def test_a_packed_archive_is_refused(tmp_path):
    plain, packed = written(tmp_path / "plain.pth", VALUES), tmp_path / "packed.pth"
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for member in source.infolist():
            target.writestr(member.filename, source.read(member))
    with pytest.raises(
        UnreadableTorchFile, match=r"packed\.pth' cannot be read as tensors: its archive is compressed\.$"
    ):
        read_tensors(packed)


@pytest.mark.parametrize("given", ["nowhere.pth", "here.h5", 5, None])
def test_a_file_exists_and_has_one_of_torchs_suffixes(tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    Path("here.h5").touch()
    expected = rf"^file={given!r}: expected the path of an existing \.safetensors, \.pth, \.pt, \.bin or \.ckpt file\.$"
    with pytest.raises(MissingTorchFile, match=expected):
        read_tensors(given)


@pytest.mark.parametrize(("suffix", "package"), [(".safetensors", "safetensors"), (".pth", "torch")])
def test_a_reader_that_is_not_installed_is_named(tmp_path, monkeypatch, suffix, package):
    file = written(tmp_path / f"a{suffix}", VALUES)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackage, match=rf"{suffix}' requires {package}.* pip install '{package}.*'\.$"):
        read_tensors(file)


def test_a_torch_whose_safe_reading_is_not_safe_is_not_used(tmp_path, monkeypatch):
    file = written(tmp_path / "a.pth", VALUES)
    monkeypatch.setattr(torch, "__version__", torch.torch_version.TorchVersion("2.5.1"))
    with pytest.raises(MissingPackage, match=r"requires torch>=2\.6 \(installed: 2\.5\.1\)"):
        read_tensors(file)


def test_another_network_has_no_counterpart(peer_file):
    image = keras.Input((64, 96, 3))
    network = keras.Model(image, keras.layers.Conv2D(3, 3, name="stem")(image), name="other")
    with pytest.raises(ValueError, match=r"the layer stem \(Conv2D\) of the network other .* torchvision's ResNet\.$"):
        load_resnet_v1(network, peer_file)
