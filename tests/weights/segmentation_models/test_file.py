"""What is read of a Keras 2 file, and which files are refused with which words."""

import h5py
import keras
import numpy as np
import pytest

from maskwright.errors import InputError
from maskwright.weights.segmentation_models.file import read_legacy
from tests.weights.legacy_files import write_layers, write_numbers, write_whole

KERNEL = np.arange(54, dtype="float32").reshape(3, 3, 3, 2)
LAYERS = {"data": {}, "conv0": {"kernel": KERNEL}, "conv1/bn": {"gamma": np.float32([1, 2])}}


@pytest.fixture
def file(tmp_path):
    return write_numbers(tmp_path / "old.h5", LAYERS)


def test_layers_with_weights_are_read_in_their_order(file):
    read = read_legacy(file)
    assert list(read.layers) == ["conv0", "conv1/bn"]
    np.testing.assert_array_equal(read.layers["conv0"]["kernel"], KERNEL)
    np.testing.assert_array_equal(read.layers["conv1/bn"]["gamma"], [1, 2])
    assert read.config is None
    assert not read.has_optimizer


def test_a_whole_model_is_read_with_its_description_and_without_its_optimizer(tmp_path):
    file = write_whole(tmp_path / "old.h5", LAYERS, [("Conv2D", {"name": "conv0"})], output="conv0", optimizer=True)
    read = read_legacy(file)
    assert list(read.layers) == ["conv0", "conv1/bn"]
    assert read.config["config"]["layers"][0]["class_name"] == "Conv2D"
    assert read.has_optimizer


def test_names_too_long_for_one_attribute_are_read_from_its_pieces(file):
    with h5py.File(file, "a") as opened:
        del opened.attrs["layer_names"]
        opened.attrs["layer_names0"] = [b"data", b"conv0"]
        opened.attrs["layer_names1"] = [b"conv1/bn"]
    assert list(read_legacy(file).layers) == ["conv0", "conv1/bn"]


def test_weights_named_after_another_scope_are_known_by_their_last_name(tmp_path):
    with h5py.File(tmp_path / "old.h5", "w") as opened:
        opened.attrs["layer_names"] = [b"conv0"]
        group = opened.create_group("conv0")
        group.attrs["weight_names"] = [b"conv0_1/depthwise_kernel:0"]
        group["conv0_1/depthwise_kernel:0"] = KERNEL
    assert list(read_legacy(tmp_path / "old.h5").layers["conv0"]) == ["kernel"]


def refusal(file):
    with pytest.raises(InputError) as refused:
        read_legacy(file)
    return str(refused.value)


def test_a_path_to_nothing_a_folder_and_other_kinds_of_files_are_told_apart(tmp_path):
    assert "is not there; expected a Keras 2 .h5 file" in refusal(tmp_path / "none.h5")
    assert "is a folder" in refusal(tmp_path)
    (tmp_path / "text.h5").write_text("weights")
    assert "is not in the HDF5 format" in refusal(tmp_path / "text.h5")
    h5py.File(tmp_path / "other.h5", "w").close()
    assert "is an HDF5 file, but none that Keras wrote" in refusal(tmp_path / "other.h5")


def test_files_of_keras_3_are_told_what_opens_them(tmp_path):
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    network.save(tmp_path / "new.keras")
    network.save_weights(tmp_path / "new.weights.h5")
    assert "a zip archive, as .keras files are; expected" in refusal(tmp_path / "new.keras")
    assert "keras.saving.load_model opens those" in refusal(tmp_path / "new.keras")
    assert "in the .weights.h5 form of Keras 2.12 and later" in refusal(tmp_path / "new.weights.h5")


def test_a_file_cut_anywhere_is_damaged(file):
    whole = file.read_bytes()
    for share in (0.1, 0.5, 0.9):
        file.write_bytes(whole[: int(len(whole) * share)])
        assert "is cut off or damaged" in refusal(file)


def test_a_layer_that_is_named_and_missing_is_damage(file):
    with h5py.File(file, "a") as opened:
        del opened["conv0/conv0"]
    assert "is cut off or damaged" in refusal(file)


def test_a_description_that_is_no_json_is_damage(tmp_path):
    file = write_whole(tmp_path / "old.h5", LAYERS, [], output="conv0")
    for text, why in (("{", "its model_config is not JSON"), ("[]", "its model_config describes no network")):
        with h5py.File(file, "a") as opened:
            opened.attrs["model_config"] = text
        assert why in refusal(file)


def test_a_file_without_weights_is_refused(tmp_path):
    assert "is a file without weights" in refusal(write_numbers(tmp_path / "old.h5", {"data": {}}))


def test_a_network_in_a_network_is_named_with_a_way_out(tmp_path):
    with h5py.File(tmp_path / "old.h5", "w") as opened:
        opened.attrs["layer_names"] = [b"model_1"]
        group = opened.create_group("model_1")
        group.attrs["weight_names"] = [b"conv0/kernel:0", b"conv1/kernel:0"]
        group["conv0/kernel:0"] = group["conv1/kernel:0"] = KERNEL
    words = refusal(tmp_path / "old.h5")
    assert "the layer 'model_1' is itself a network" in words
    assert "model.get_layer('model_1').save('inner.h5')" in words
    assert "leaves out layers in front of it" in words


@pytest.mark.parametrize("link", [h5py.ExternalLink("elsewhere.h5", "/secret"), h5py.SoftLink("/conv1")])
def test_links_are_refused(file, link):
    with h5py.File(file, "a") as opened:
        del opened["conv0/conv0/kernel:0"]
        opened["conv0/conv0/kernel:0"] = link
    assert "conv0/kernel:0 is a link to somewhere else" in refusal(file)


def test_arrays_kept_in_another_file_are_refused(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(216))
    with h5py.File(tmp_path / "old.h5", "w") as opened:
        write_layers(opened, {"conv0": {}})
        opened["conv0"].attrs["weight_names"] = [b"kernel:0"]
        opened["conv0"].create_dataset("kernel:0", (54,), "float32", external=[(str(tmp_path / "secret"), 0, 216)])
    assert "kernel:0 is kept in another file" in refusal(tmp_path / "old.h5")


def test_objects_are_refused(tmp_path):
    file = write_numbers(tmp_path / "old.h5", {"conv0": {"kernel": np.array([b"import os"], dtype=object)}})
    assert "conv0/kernel:0 is of type object" in refusal(file)


def test_a_small_file_that_claims_to_hold_much_is_refused(tmp_path):
    with h5py.File(tmp_path / "old.h5", "w") as opened:
        write_layers(opened, {"conv0": {}})
        opened["conv0"].attrs["weight_names"] = [b"kernel:0"]
        opened["conv0"].create_dataset("kernel:0", (2**40,), "float32", chunks=(2**20,))
    assert "more than any network here" in refusal(tmp_path / "old.h5")
