"""`load_keras` leaves optional packages out, and they can be imported afterwards."""

import subprocess
import sys

import pytest

CODE = """
import gc, os, sys
from maskwright.framework import load_keras
finders = [*sys.meta_path]
load_keras(optional_packages={optional_packages})
assert "keras" in sys.modules and gc.isenabled() and {{*finders}} >= {{*sys.meta_path[:1]}}
print(*({{"matplotlib", "sklearn", "jax"}} & {{*sys.modules}}))
import matplotlib.pyplot
print(*matplotlib.pyplot.figure().get_size_inches())
"""


def packages_loaded_with_keras(*, optional_packages, backend):
    code = CODE.format(optional_packages=optional_packages)
    environment = {"KERAS_BACKEND": backend, "MPLBACKEND": "Agg", "PATH": "", "HOME": "/nowhere"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    packages, figure_size = done.stdout.splitlines()
    assert figure_size == "6.4 4.8"  # matplotlib can be imported afterwards
    return set(packages.split())


def test_optional_packages_are_not_loaded_by_default():
    assert packages_loaded_with_keras(optional_packages=False, backend="tensorflow") == set()


def test_optional_packages_are_loaded_on_request():
    assert "matplotlib" in packages_loaded_with_keras(optional_packages=True, backend="tensorflow")


def test_jax_is_loaded_if_it_is_the_backend():
    pytest.importorskip("jax")
    assert packages_loaded_with_keras(optional_packages=False, backend="jax") == {"jax"}
