"""Importing the package stays cheap and knows no framework."""

import subprocess
import sys


def test_importing_loads_neither_a_framework_nor_the_heavy_codecs():
    code = "import sys, maskwright.images; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = set(result.stdout.split())
    assert "maskwright.images.read" in loaded
    assert not {"keras", "tensorflow", "jax", "torch", "tifffile", "imagecodecs"} & loaded
