"""What arrives at TensorBoard and MLflow, read back by what reads event files, or by MLflow itself."""

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
    """(step, tag, value) of every event: records of a length, its checksum, a message, its checksum."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for file in sorted(folder.iterdir()):
        stored, place = file.read_bytes(), 0
        while place < len(stored):
            (length,) = struct.unpack_from("<Q", stored, place)
            event = Event.FromString(stored[place + 12 : place + 12 + length])
            found += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
            place += length + 16
    return found


def logging(folder, *services, first=1, said=None):
    return logged(Run(folder), recipe(*services), first=first, say=[].append if said is None else said.append)


def test_tensorboard_gets_every_number_at_its_step_and_goes_on(tmp_path):
    for first, row in zip((1, 21), ROWS, strict=True):  # two sittings
        with logging(tmp_path, "tensorboard", first=first) as log:
            log(row)
    expected = [(20, "loss", 0.5), (40, "loss", 0.25), (40, "val_mean_iou", 0.75)]
    assert scalars(tmp_path / "tensorboard") == expected


def test_mlflow_gets_the_recipe_and_every_number_and_goes_on(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="mlflow-skinny is not among what `make test` installs")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    said = []
    for row in ROWS:
        with logging(tmp_path, "mlflow", said=said) as log:
            log(row)
    assert not said
    client = mlflow.MlflowClient()
    [found] = client.search_runs(["0"])
    assert found.data.params["training.batch_size"] == "8"
    assert [(one.step, one.value) for one in client.get_metric_history(found.info.run_id, "loss")] == [
        (20, 0.5), (40, 0.25),
    ]  # fmt: skip


def test_a_service_that_fails_on_the_way_is_done_without(tmp_path, monkeypatch):
    from tensorboardX import SummaryWriter

    def full(self, *given):
        raise OSError("no space")

    monkeypatch.setattr(SummaryWriter, "add_scalar", full)
    said = []
    with logging(tmp_path, "tensorboard", said=said) as log:
        log(ROWS[0])
        log(ROWS[1])
    assert said == ["warning: tensorboard is not told any more: OSError: no space"]


@pytest.mark.parametrize(("service", "package"), [("tensorboard", "tensorboardX"), ("mlflow", "mlflow")])
def test_a_service_that_is_not_installed_is_told_how_to_get(tmp_path, monkeypatch, service, package):
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
