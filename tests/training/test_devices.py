"""Data-parallel training on JAX: virtual devices of one process, and two real processes, against one device."""

import csv
import os
import socket
import subprocess
import sys

import pytest

from maskwright.training.devices import Part, UnusableDevices, shared_out
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
    fields = {"patch": "[64,64]", "batch_size": 4, "learning_rate": 0.01, "devices": devices, "early_share": 0.0}
    fields["optimizer"] = "muon"  # of the first kernel; the head goes by AdamW
    settings = [word for field, value in fields.items() for word in ("--set", f"training.{field}={value}")]
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


def ended(process):
    told, _ = process.communicate(timeout=300)
    assert process.returncode == 0, told


def curve(run):
    with Run(run).history.open(newline="") as file:
        return [(int(row["step"]), float(row["loss"]), float(row["val_mean_iou"])) for row in csv.DictReader(file)]


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="module")
def alone(drawn, tmp_path_factory):
    """The curve of one device."""
    folder = tmp_path_factory.mktemp("alone")
    ended(start(drawn, folder))
    return curve(folder / "run")


def assert_equal(found, expected):
    assert [step for step, *_ in found] == [step for step, *_ in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours[1:] == pytest.approx(theirs[1:], rel=2e-3)
    assert found[-1][1] < 0.95 * found[0][1]  # and it learnt


def test_two_devices_learn_as_one(drawn, tmp_path, alone):
    environment = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    ended(start(drawn, tmp_path, devices=2, environment=environment))
    assert_equal(curve(tmp_path / "run"), alone)


def test_two_processes_learn_as_one_device_and_one_of_them_writes(drawn, tmp_path, alone):
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
        ended(process)
    assert_equal(curve(tmp_path / "run"), alone)
    assert Run(tmp_path / "run").is_complete
    assert not list(tmp_path.glob("maskwright-*"))  # the other's own folder is gone


@pytest.mark.parametrize(("index", "expected"), [(0, [1, 2]), (1, [3, 4]), (2, [5, 6])])
def test_a_part_is_a_share_of_the_batch(index, expected):
    assert Part(index, 3).of([1, 2, 3, 4, 5, 6]) == expected


def test_devices_need_jax(tmp_path, monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: "tensorflow")
    words = r"training\.devices=2: the backend is tensorflow; expected KERAS_BACKEND=jax"
    with pytest.raises(UnusableDevices, match=words), shared_out(TrainingRecipe(devices=2), tmp_path):
        pass


def test_more_devices_than_there_are_and_processes_by_the_clock_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    monkeypatch.setattr("keras.distribution.list_devices", lambda: ["cpu:0"])
    with (
        pytest.raises(UnusableDevices, match="there are 1 in 1 processes; expected 4 or more"),
        shared_out(TrainingRecipe(devices=4), tmp_path),
    ):
        pass
    monkeypatch.setenv("KERAS_DISTRIBUTION_NUM_PROCESSES", "2")
    with (
        pytest.raises(UnusableDevices, match="several processes by the clock; expected --epochs"),
        shared_out(TrainingRecipe(devices=2), tmp_path),
    ):
        pass
