"""Importing the package is cheap and loads no framework."""

import os
import subprocess
import sys

import pytest

READ_AND_WRITE = ("read", "write", "overlay", "panel", "normalise", "windows.source", "windows.write_tiff")


def test_importing_readers_and_writers_loads_neither_a_framework_nor_codecs():
    modules = [f"maskwright.images.{name}" for name in READ_AND_WRITE]
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = set(result.stdout.split())
    assert set(modules) <= loaded
    assert not {"keras", "tensorflow", "jax", "torch", "tifffile", "imagecodecs"} & loaded


@pytest.mark.parametrize(("given", "expected"), [({}, "1"), ({"TF_ENABLE_ONEDNN_OPTS": "0"}, "0")])
def test_onednn_kernels_are_enabled_unless_the_environment_sets_otherwise(given, expected):
    code = "import maskwright, os; print(os.environ['TF_ENABLE_ONEDNN_OPTS'])"
    others = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=others | given
    )
    assert result.stdout.strip() == expected
