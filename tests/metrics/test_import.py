"""Importing the metrics loads no training framework; the Keras metrics are imported on first access."""

import subprocess
import sys

import pytest

from maskwright import metrics


@pytest.mark.parametrize("module", ["maskwright.metrics", "maskwright.metrics.scores"])
def test_scoring_loads_no_training_framework(module):
    code = f"import sys, {module} as module; module.Scores, module.confusion_matrix; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert not {"keras", "tensorflow", "jax", "torch", "scipy"} & set(out.split())


def test_public_names_are_exactly_those_of_all():
    assert all(getattr(metrics, name).__module__.startswith("maskwright.metrics") for name in metrics.__all__)
    assert dir(metrics) == sorted(metrics.__all__)
    with pytest.raises(AttributeError, match=r"module 'maskwright.metrics' has no attribute 'accuracy'"):
        metrics.accuracy  # noqa: B018
