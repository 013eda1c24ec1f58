"""Reading of Keras 2 files, and errors for damaged, unsafe and other files."""

import re

import h5py
import keras
import numpy as np
import pytest

from maskwright.weights.segmentation_models.file import (
    DamagedLegacyFile,
    NestedNetwork,
    NotLegacyFile,
    UnsafeLegacyFile,
    read_legacy,
)
from tests.weights.legacy_files import write_layers, write_model, write_weights

KERNEL = np.arange(54, dtype="float32").reshape(3, 3, 3, 2)
LAYERS = {"data": {}, "conv0": {"kernel": KERNEL}, "conv1/bn": {"gamma": np.float32([1, 2])}}


@pytest.fixture
def file(tmp_path):
    return write_weights(tmp_path / "old.h5", LAYERS)


def test_layers_with_weights_are_read_in_the_order_of_the_file(file):
    legacy = read_legacy(file)
    assert list(legacy.layers) == ["conv0", "conv1/bn"]
    np.testing.assert_array_equal(legacy.layers["conv0"]["kernel"], KERNEL)
    np.testing.assert_array_equal(legacy.layers["conv1/bn"]["gamma"], [1, 2])
    assert legacy.config is None
    assert not legacy.has_optimizer


def test_whole_model_is_read_with_its_configuration(tmp_path):
    file = write_model(tmp_path / "old.h5", LAYERS, [("Conv2D", {"name": "conv0"})], output="conv0", optimizer=True)
    legacy = read_legacy(file)
    assert list(legacy.layers) == ["conv0", "conv1/bn"]
    assert legacy.config["config"]["layers"][0]["class_name"] == "Conv2D"
    assert legacy.has_optimizer


def test_list_of_names_split_over_attributes_is_joined(file):
    with h5py.File(file, "a") as root:
        del root.attrs["layer_names"]
        root.attrs["layer_names0"] = [b"data", b"conv0"]
        root.attrs["layer_names1"] = [b"conv1/bn"]
    assert list(read_legacy(file).layers) == ["conv0", "conv1/bn"]


def test_weight_is_named_by_the_last_part_of_its_path(tmp_path):
    with h5py.File(tmp_path / "old.h5", "w") as root:
        root.attrs["layer_names"] = [b"conv0"]
        group = root.create_group("conv0")
        group.attrs["weight_names"] = [b"conv0_1/depthwise_kernel:0"]
        group["conv0_1/depthwise_kernel:0"] = KERNEL
    assert list(read_legacy(tmp_path / "old.h5").layers["conv0"]) == ["kernel"]


def error_of(file, error):
    """Return the message of the ``error`` that reading ``file`` raises."""
    with pytest.raises(error, match=rf"^file={str(file)!r}: ") as raised:
        read_legacy(file)
    return str(raised.value)


def test_errors_distinguish_missing_files_folders_and_other_formats(tmp_path):
    assert "does not exist; expected a Keras 2 .h5 file" in error_of(tmp_path / "none.h5", NotLegacyFile)
    message = error_of(tmp_path, NotLegacyFile)
    assert "a folder;" in message
    assert "tf.keras.models.load_model(...).save('old.h5')" in message
    (tmp_path / "text.h5").write_text("weights")
    assert "not in the HDF5 format;" in error_of(tmp_path / "text.h5", NotLegacyFile)
    h5py.File(tmp_path / "other.h5", "w").close()
    assert "an HDF5 file without Keras layers;" in error_of(tmp_path / "other.h5", NotLegacyFile)


def test_errors_for_files_of_keras_3_state_how_to_load_them(tmp_path):
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    network.save(tmp_path / "new.keras")
    network.save_weights(tmp_path / "new.weights.h5")
    message = error_of(tmp_path / "new.keras", NotLegacyFile)
    assert "zip archive" in message
    assert message.endswith("keras.saving.load_model.")
    message = error_of(tmp_path / "new.weights.h5", NotLegacyFile)
    assert ".weights.h5 file of Keras 2.12 or later" in message
    assert message.endswith("save('old.h5').")


def test_truncated_file_is_damaged(file):
    content = file.read_bytes()
    for fraction in (0.1, 0.5, 0.9):
        file.write_bytes(content[: int(len(content) * fraction)])
        error_of(file, DamagedLegacyFile)


def test_file_without_a_listed_layer_is_damaged(file):
    with h5py.File(file, "a") as root:
        del root["conv0/conv0"]
    assert "conv0" in error_of(file, DamagedLegacyFile)


def test_file_with_an_invalid_configuration_is_damaged(tmp_path):
    file = write_model(tmp_path / "old.h5", LAYERS, [], output="conv0")
    for text, reason in (("{", "model_config is not JSON"), ("[]", "model_config does not describe")):
        with h5py.File(file, "a") as root:
            root.attrs["model_config"] = text
        assert reason in error_of(file, DamagedLegacyFile)


def test_file_without_weights_is_an_error(tmp_path):
    assert "no weights;" in error_of(write_weights(tmp_path / "old.h5", {"data": {}}), NotLegacyFile)


def test_error_for_a_nested_model_states_how_to_save_it(tmp_path):
    with h5py.File(tmp_path / "old.h5", "w") as root:
        root.attrs["layer_names"] = [b"model_1"]
        group = root.create_group("model_1")
        group.attrs["weight_names"] = [b"conv0/kernel:0", b"conv1/kernel:0"]
        group["conv0/kernel:0"] = group["conv1/kernel:0"] = KERNEL
    message = error_of(tmp_path / "old.h5", NestedNetwork)
    assert "the layer 'model_1' " in message
    assert "model.get_layer('model_1').save('inner.h5')" in message
    assert re.search(r"Layers before it, .*, are not included; build them again\.$", message)


@pytest.mark.parametrize("link", [h5py.ExternalLink("elsewhere.h5", "/secret"), h5py.SoftLink("/conv1")])
def test_links_are_an_error(file, link):
    with h5py.File(file, "a") as root:
        del root["conv0/conv0/kernel:0"]
        root["conv0/conv0/kernel:0"] = link
    assert "conv0/kernel:0 is a link" in error_of(file, UnsafeLegacyFile)


def test_arrays_stored_in_another_file_are_an_error(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(216))
    with h5py.File(tmp_path / "old.h5", "w") as root:
        write_layers(root, {"conv0": {}})
        root["conv0"].attrs["weight_names"] = [b"kernel:0"]
        root["conv0"].create_dataset("kernel:0", (54,), "float32", external=[(str(tmp_path / "secret"), 0, 216)])
    assert "kernel:0 is stored in another file" in error_of(tmp_path / "old.h5", UnsafeLegacyFile)


def test_objects_are_an_error(tmp_path):
    file = write_weights(tmp_path / "old.h5", {"conv0": {"kernel": np.array([b"import os"], dtype=object)}})
    assert "conv0/kernel:0 is of type object" in error_of(file, UnsafeLegacyFile)


def test_small_file_with_a_huge_array_is_an_error(tmp_path):
    with h5py.File(tmp_path / "old.h5", "w") as root:
        write_layers(root, {"conv0": {}})
        root["conv0"].attrs["weight_names"] = [b"kernel:0"]
        root["conv0"].create_dataset("kernel:0", (2**40,), "float32", chunks=(2**20,))
    assert "4,398,046,511,104 bytes, more than 4,294,967,296" in error_of(tmp_path / "old.h5", UnsafeLegacyFile)
