"""A training of the rig that is killed at any of its writes resumes to identical bits."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="identical bits are guaranteed on TensorFlow")
@pytest.mark.skipif(sys.platform == "win32", reason="the script forks")
def test_a_training_killed_at_any_write_resumes_to_identical_bits(tmp_path):
    command = [sys.executable, "-m", "tests.training.killable", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["other results after"] == []
    assert found["kills"] > 20  # two epochs, each with a network, a history and a checkpoint
