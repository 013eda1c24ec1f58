"""Values logged to TensorBoard and MLflow, read back from event files and by MLflow itself."""

import re
import struct
import sys

import pytest

from maskwright.errors import MissingPackage
from maskwright.training.logs import logged
from maskwright.training.recipe import Recipe
from maskwright.training.run import Run

ROWS = [
    {"epoch": 1, "step": 20, "loss": 0.5, "val_mean_iou": None},
    {"epoch": 2, "step": 40, "loss": 0.25, "val_mean_iou": 0.75},
]


def recipe(*services):
    return Recipe.from_dict({"data": {"images": "i", "masks": "m"}, "training": {"log": services}})


def scalars(folder):
    """Return (step, tag, value) of every event; a record is a length, its checksum, a message and its checksum."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for file in sorted(folder.iterdir()):
        stored, offset = file.read_bytes(), 0
        while offset < len(stored):
            (length,) = struct.unpack_from("<Q", stored, offset)
            event = Event.FromString(stored[offset + 12 : offset + 12 + length])
            found += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
            offset += length + 16
    return found


def logging(folder, *services, first=1, lines=None):
    return logged(Run(folder), recipe(*services), first=first, report=[].append if lines is None else lines.append)


def test_tensorboard_has_every_value_at_its_step_in_two_sessions(tmp_path):
    for first, row in zip((1, 21), ROWS, strict=True):
        with logging(tmp_path, "tensorboard", first=first) as log:
            log(row)
    expected = [(20, "loss", 0.5), (40, "loss", 0.25), (40, "val_mean_iou", 0.75)]
    assert scalars(tmp_path / "tensorboard") == expected


def test_mlflow_has_the_recipe_and_every_value_in_two_sessions(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="`make test` does not install mlflow-skinny")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    lines = []
    for row in ROWS:
        with logging(tmp_path, "mlflow", lines=lines) as log:
            log(row)
    assert not lines
    client = mlflow.MlflowClient()
    [found] = client.search_runs(["0"])
    assert found.data.params["training.batch_size"] == "8"
    assert [(metric.step, metric.value) for metric in client.get_metric_history(found.info.run_id, "loss")] == [
        (20, 0.5), (40, 0.25),
    ]  # fmt: skip


def test_a_service_that_fails_is_reported_once_and_not_used_again(tmp_path, monkeypatch):
    from tensorboardX import SummaryWriter

    def full(self, *given):
        raise OSError("no space")

    monkeypatch.setattr(SummaryWriter, "add_scalar", full)
    lines = []
    with logging(tmp_path, "tensorboard", lines=lines) as log:
        log(ROWS[0])
        log(ROWS[1])
    [line] = lines
    assert re.fullmatch("warning: .*tensorboard: OSError: no space", line)


@pytest.mark.parametrize(("service", "package"), [("tensorboard", "tensorboardX"), ("mlflow", "mlflow")])
def test_a_missing_package_is_an_error_with_the_install_command(tmp_path, monkeypatch, service, package):
    monkeypatch.setitem(sys.modules, package, None)
    message = rf"training\.log: {service} requires {package}.*pip install 'maskwright\[{service}\]'"
    with (
        pytest.raises(MissingPackage, match=message),
        logging(tmp_path, service),
    ):
        pass


def test_without_services_nothing_is_written(tmp_path):
    with logging(tmp_path) as log:
        log(ROWS[0])
    assert not list(tmp_path.iterdir())
