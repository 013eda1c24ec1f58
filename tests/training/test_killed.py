"""A training that is killed resumes with the same result."""

import csv
import json
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from maskwright.inference.bundle import Bundle
from maskwright.inference.engines.keras import load_keras_engine
from maskwright.training.run import Run
from tests.conftest import SMALL_RECIPE

# The command line with a checkpoint every second instead of every minute.
COMMAND = "; ".join(
    [
        "import maskwright.training.trainer as trainer",
        "trainer._CHECKPOINT_SECONDS = trainer.AVERAGING_INTERVAL = 1",
        "from maskwright.cli import main",
        "main()",
    ]
)
# These begin before and after the training is killed.
LATE_OPTIONS = [
    "--set",
    "training.weight_averaging=0.4",
    "--set",
    "training.final_loss.loss={dice: 1}",
    "--set",
    "training.final_loss.start=0.5",
    "--set",
    "training.lr_cycles=2",
]


def start(*arguments):
    process = [sys.executable, "-c", COMMAND, *map(str, arguments)]
    return subprocess.Popen(process, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def rows(run):
    with run.history.open(newline="") as file:
        return list(csv.DictReader(file))


def wait_for(process, condition, seconds=240):
    for _ in range(seconds * 10):
        if condition() or process.poll() is not None:
            return
        time.sleep(0.1)
    process.kill()
    pytest.fail("the condition was not met in time")


@pytest.fixture
def options(drawn, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps(SMALL_RECIPE))  # JSON is YAML
    data = ["--images", drawn / "train/images", "--masks", drawn / "train/masks", "--classes", "background,cell,fibre"]
    return ["train", *data, "--recipe", recipe, "--epochs", "5"]


def weights(run, file):
    return load_keras_engine(file, Bundle.read(run.folder)).network.get_weights()


def test_a_killed_training_resumes_to_identical_bits(options, tmp_path):
    straight, killed = Run(tmp_path / "straight"), Run(tmp_path / "killed")
    assert start(*options, *LATE_OPTIONS, "--out", straight.folder).wait() == 0

    process = start(*options, *LATE_OPTIONS, "--out", killed.folder)
    wait_for(
        process, lambda: killed.previous_checkpoint.exists() and killed.history.exists() and len(rows(killed)) >= 2
    )
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not killed.facts.exists()
    assert len(rows(killed)) < 5

    resumed = start("train", "--resume", "--out", killed.folder)
    output = resumed.communicate()[0]
    assert resumed.returncode == 0, output
    assert re.search(r"Resuming at step [1-9]\d* of \d+\.", output)
    assert not list(killed.folder.rglob(".*.npz"))
    untimed = [[{**row, "seconds": ""} for row in rows(run)] for run in (straight, killed)]
    assert untimed[0] == untimed[1]
    snapshots = tuple(run.snapshot(1) / "model.keras" for run in (killed, straight))
    for one, other in ((killed.network, straight.network), (killed.last_network, straight.last_network), snapshots):
        for ours, theirs in zip(weights(killed, one), weights(straight, other), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert killed.read_facts().stopped_by == "schedule"


def test_a_stopped_run_has_all_results_and_the_same_command_resumes_it(options, tmp_path, maskwright_command):
    run = Run(tmp_path / "run")
    command = [*options[:-1], "500", "--out", run.folder]
    for number, beginning in ((signal.SIGINT, "epoch"), (signal.SIGTERM, "Resuming at step")):
        process = start(*command)
        for line in process.stdout:
            if line.startswith(beginning):
                break
        for line in process.stdout:  # the handlers are in place before an epoch ends
            if line.startswith("epoch"):
                break
        process.send_signal(number)
        output = process.communicate()[0]
        assert process.returncode == 130, output
        assert "Stopping after this step and saving a checkpoint. Press Ctrl-C again to quit now." in output
        assert f"maskwright train --resume --out {run.folder}" in output
        for file in (run.network, run.scores, run.report, run.checkpoint):
            assert file.is_file()
        assert run.read_facts().stopped_by == "interrupt"
    code, _, err = maskwright_command(*options[:-1], "7", "--out", run.folder)
    assert code == 1
    assert "contains a run; add --resume" in err


def test_a_run_is_not_resumed_with_other_settings(options, tmp_path, maskwright_command):
    run = Run(tmp_path / "run")
    process = start(*options, "--out", run.folder)
    wait_for(process, lambda: run.bundle.exists())
    process.kill()
    process.wait()
    code, _, err = maskwright_command(*options[:-1], "7", "--out", run.folder, "--resume")
    assert code == 1
    assert "cannot resume with other settings (training.epochs=7 is not 5)" in err
