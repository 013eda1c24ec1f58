"""A training of the rig is killed at each of its writes, and goes on: to the same bits as one that was never killed."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="equal bits are promised on TensorFlow")
@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_killed_at_any_write_a_training_ends_with_the_same_bits(tmp_path):
    command = [sys.executable, "-m", "tests.training.killable", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["other results after"] == []
    assert found["kills"] > 20  # two epochs, each with a network, a history and a checkpoint
