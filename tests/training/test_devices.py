"""Data-parallel training on JAX: virtual devices of one process, and two real processes, against one device."""

import csv
import os
import socket
import subprocess
import sys

import pytest

from maskwright.training.devices import BatchShard, UnusableDevices, distributed
from maskwright.training.recipe import TrainingRecipe
from maskwright.training.run import Run

NETWORK = """
import keras

def network(channels, classes, activation):
    layers = keras.layers
    image = keras.Input((None, None, channels))
    x = layers.Conv2D(16, 3, padding="same", use_bias=False, name="one")(image)
    x = layers.Activation("relu")(layers.BatchNormalization(name="norm")(x))
    x = layers.Conv2D(classes, 3, padding="same", name="two")(x)
    return keras.Model(image, layers.Activation(activation, dtype="float32")(x))
"""


def start(drawn, folder, *, devices=1, environment=None):
    (folder / "mine.py").write_text(NETWORK)
    data = ["--images", drawn / "train/images", "--masks", drawn / "train/masks", "--classes", "background,cell,fibre"]
    fields = {"patch_size": "[64,64]", "batch_size": 4, "learning_rate": 0.01, "devices": devices}
    fields["progressive_resize"] = "null"
    fields["optimizer"] = "muon"  # for the first kernel; AdamW for the head
    settings = [text for field, value in fields.items() for text in ("--set", f"training.{field}={value}")]
    command = [
        "train",
        *data,
        *settings,
        "--epochs",
        "4",
        "--python",
        folder / "mine.py",
        "--out",
        folder / "run",
    ]
    code = "from maskwright.cli import main; main()"
    backend = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, command)],
        env=os.environ | backend | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait(process):
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output


def curve(run):
    with Run(run).history.open(newline="") as file:
        return [(int(row["step"]), float(row["loss"]), float(row["val_mean_iou"])) for row in csv.DictReader(file)]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def one_device(drawn, tmp_path_factory):
    """Return the training curve of one device."""
    folder = tmp_path_factory.mktemp("one_device")
    wait(start(drawn, folder))
    return curve(folder / "run")


def assert_equal(found, expected):
    assert [step for step, *_ in found] == [step for step, *_ in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours[1:] == pytest.approx(theirs[1:], rel=2e-3)
    assert found[-1][1] < 0.95 * found[0][1]  # the loss decreases


def test_two_devices_train_like_one(drawn, tmp_path, one_device):
    environment = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    wait(start(drawn, tmp_path, devices=2, environment=environment))
    assert_equal(curve(tmp_path / "run"), one_device)


def test_two_processes_train_like_one_device_and_only_one_writes(drawn, tmp_path, one_device):
    address = f"127.0.0.1:{free_port()}"
    processes = [
        start(
            drawn,
            tmp_path,
            devices=2,
            environment={
                "KERAS_DISTRIBUTION_JOB_ADDRESSES": address,
                "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
                "KERAS_DISTRIBUTION_PROCESS_ID": str(number),
                "TMPDIR": str(tmp_path),
            },
        )
        for number in (0, 1)
    ]
    for process in processes:
        wait(process)
    assert_equal(curve(tmp_path / "run"), one_device)
    assert Run(tmp_path / "run").is_complete
    assert not list(tmp_path.glob("maskwright-*"))  # the temporary folder of the other is removed


@pytest.mark.parametrize(("index", "expected"), [(0, [1, 2]), (1, [3, 4]), (2, [5, 6])])
def test_a_shard_is_a_fraction_of_the_batch(index, expected):
    assert BatchShard(index, 3).of([1, 2, 3, 4, 5, 6]) == expected


def test_devices_need_jax(tmp_path, monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: "tensorflow")
    message = r"training\.devices=2: .*tensorflow.*KERAS_BACKEND=jax"
    with pytest.raises(UnusableDevices, match=message), distributed(TrainingRecipe(devices=2), tmp_path):
        pass


def test_missing_devices_and_processes_with_a_time_budget_are_errors(tmp_path, monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    monkeypatch.setattr("keras.distribution.list_devices", lambda: ["cpu:0"])
    with (
        pytest.raises(UnusableDevices, match=r"devices=4: .*1 in 1 processes.* 4 or more"),
        distributed(TrainingRecipe(devices=4), tmp_path),
    ):
        pass
    monkeypatch.setenv("KERAS_DISTRIBUTION_NUM_PROCESSES", "2")
    with (
        pytest.raises(UnusableDevices, match=r"devices=2: .*time budget.*--epochs"),
        distributed(TrainingRecipe(devices=2), tmp_path),
    ):
        pass
