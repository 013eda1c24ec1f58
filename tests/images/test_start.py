"""Importing the package stays cheap and knows no framework."""

import os
import subprocess
import sys

import pytest


def test_importing_loads_neither_a_framework_nor_the_heavy_codecs():
    code = "import sys, maskwright.images; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = set(result.stdout.split())
    assert "maskwright.images.read" in loaded
    assert not {"keras", "tensorflow", "jax", "torch", "tifffile", "imagecodecs"} & loaded


@pytest.mark.parametrize(("given", "left"), [({}, "1"), ({"TF_ENABLE_ONEDNN_OPTS": "0"}, "0")])
def test_importing_asks_for_the_faster_kernels_unless_told_otherwise(given, left):
    code = "import maskwright, os; print(os.environ['TF_ENABLE_ONEDNN_OPTS'])"
    others = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=others | given
    )
    assert result.stdout.strip() == left
