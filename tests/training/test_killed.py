"""A training that is killed, really killed, goes on where it was."""

import csv
import json
import signal
import subprocess
import sys
import time

import pytest

from maskwright.training.run import Run
from tests.conftest import SMALL_RECIPE

# The command line as it is, but for a checkpoint after every epoch instead of every minute.
COMMAND = "import maskwright.training.fit as fit; fit._CHECKPOINT_SECONDS = 0; from maskwright.cli import main; main()"


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
    pytest.fail("the training did not get there")


@pytest.fixture
def options(drawn, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps(SMALL_RECIPE))  # JSON is YAML
    data = ["--images", drawn / "train/images", "--masks", drawn / "train/masks", "--classes", "background,cell,fibre"]
    return ["train", *data, "--recipe", recipe, "--epochs", "5"]


def test_a_killed_training_ends_as_if_it_had_not_been_killed(options, tmp_path):
    straight, killed = Run(tmp_path / "straight"), Run(tmp_path / "killed")
    assert start(*options, "--out", straight.folder).wait() == 0

    process = start(*options, "--out", killed.folder)
    wait_for(process, lambda: killed.checkpoint.exists() and len(rows(killed)) >= 2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not killed.facts.exists()
    done = len(rows(killed))
    assert done < 5

    resumed = start("train", "--resume", "--out", killed.folder)
    output = resumed.communicate()[0]
    assert resumed.returncode == 0, output
    expected, found = rows(straight), rows(killed)
    assert [row["step"] for row in found] == [row["step"] for row in expected]
    # Threads add floats in changing order, so two trainings agree to rounding that a few steps have amplified.
    for ours, theirs in zip(found, expected, strict=True):
        assert float(ours["loss"]) == pytest.approx(float(theirs["loss"]), rel=0.02)
        assert ours["learning_rate"] == theirs["learning_rate"]
    assert killed.read_facts()["stopped_by"] == "schedule"


def test_ctrl_c_leaves_a_complete_run_and_says_how_to_go_on(options, tmp_path):
    run = Run(tmp_path / "run")
    process = start(*options[:-1], "500", "--out", run.folder)
    wait_for(process, lambda: run.history.exists())
    process.send_signal(signal.SIGINT)
    output = process.communicate()[0]
    assert process.returncode == 130, output
    assert f"Go on with: maskwright train --resume --out {run.folder}" in output
    for file in (run.network, run.scores, run.report, run.checkpoint):
        assert file.is_file()
    assert run.read_facts()["stopped_by"] == "interrupt"


def test_a_run_is_not_resumed_with_other_settings(options, tmp_path, maskwright_command):
    run = Run(tmp_path / "run")
    process = start(*options, "--out", run.folder)
    wait_for(process, lambda: run.bundle.exists())
    process.kill()
    process.wait()
    code, _, err = maskwright_command(*options[:-1], "7", "--out", run.folder, "--resume")
    assert code == 1
    assert "cannot resume with other settings (training.epochs=7 is not 5)" in err
