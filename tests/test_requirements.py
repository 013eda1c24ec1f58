"""Check that requirements/lowest.txt pins the lowest versions that pyproject.toml declares."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
DECLARED = [*PROJECT["dependencies"], *EXTRAS["train"], *EXTRAS["tensorflow"][1:]]


def lowest(python):
    """Return the pinned version of each package for a version of Python."""
    lines = (ROOT / "requirements/lowest.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {
        canonicalize_name(pin.name): Version(str(pin.specifier).removeprefix("=="))
        for pin in pins
        if pin.marker is None or pin.marker.evaluate({"python_version": python})
    }


@pytest.mark.parametrize("declared", DECLARED)
def test_lowest_declared_version_is_pinned(declared):
    name = canonicalize_name(Requirement(declared).name)
    assert f"{Requirement(declared).specifier}" == f">={declared.split('>=')[1]}"
    assert lowest("3.11")[name] == lowest("3.12")[name] == Version(declared.split(">=")[1])
    assert lowest("3.13")[name] >= lowest("3.12")[name]


def test_both_tensorflow_packages_have_one_version():
    for python in ("3.11", "3.13"):
        assert lowest(python)["tensorflow"] == lowest(python)["tensorflow-cpu"]
