"""Scoring masks needs no training framework; its Keras objects are there when asked for."""

import subprocess
import sys

import pytest

from maskwright import metrics


@pytest.mark.parametrize("door", ["maskwright.metrics", "maskwright.metrics.scores"])
def test_scoring_loads_no_training_framework(door):
    code = f"import sys, {door} as door; door.Scores, door.confusion_matrix; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert not {"keras", "tensorflow", "jax", "torch", "scipy"} & set(out.split())


def test_every_public_name_is_there_and_no_other():
    assert all(getattr(metrics, name).__module__.startswith("maskwright.metrics") for name in metrics.__all__)
    assert dir(metrics) == sorted(metrics.__all__)
    with pytest.raises(AttributeError, match=r"module 'maskwright.metrics' has no attribute 'accuracy'"):
        metrics.accuracy  # noqa: B018
