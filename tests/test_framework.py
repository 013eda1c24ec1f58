"""Loading Keras: what it would load besides is left out, and nothing stays of having left it out."""

import subprocess
import sys

import pytest

LOADS = """
import gc, os, sys
from maskwright.framework import load_keras
finders = [*sys.meta_path]
load_keras(optional_packages={whole})
assert "keras" in sys.modules and gc.isenabled() and {{*finders}} >= {{*sys.meta_path[:1]}}
print(*({{"matplotlib", "sklearn", "jax"}} & {{*sys.modules}}))
import matplotlib.pyplot
print(*matplotlib.pyplot.figure().get_size_inches())
"""


def loaded(*, whole, backend):
    code = LOADS.format(whole=whole)
    environment = {"KERAS_BACKEND": backend, "MPLBACKEND": "Agg", "PATH": "", "HOME": "/nowhere"}
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    beside, size = told.stdout.splitlines()
    assert size == "6.4 4.8"  # it can be loaded afterwards
    return set(beside.split())


def test_what_nothing_here_makes_use_of_stays_out():
    assert loaded(whole=False, backend="tensorflow") == set()


def test_a_users_own_code_finds_all_of_it():
    assert "matplotlib" in loaded(whole=True, backend="tensorflow")


def test_jax_is_loaded_where_it_computes():
    pytest.importorskip("jax")
    assert loaded(whole=False, backend="jax") == {"jax"}
