"""Every public loss, metric and model function has explicit arguments and documents each of them."""

import inspect
import re

import pytest

from maskwright import losses, metrics
from maskwright.models import ARCHITECTURES
from maskwright.networks.docstrings import PLACEHOLDER, fill_docstring

DOCUMENTED = {
    f"{module.__name__}.{name}": value
    for module in (losses, metrics)
    for name in module.__all__
    if inspect.isroutine(value := getattr(module, name)) or inspect.isclass(value)
}
DOCUMENTED |= {f"maskwright.models.{function.__name__}": function for function in ARCHITECTURES.values()}
# Their arguments are not chosen by a user: a base class, an error, and records with documented fields.
WITHOUT_ARGUMENTS = {
    "maskwright.losses.SegmentationLoss",
    "maskwright.losses.LogitsMixedWithProbabilities",
    "maskwright.metrics.ClassScore",
    "maskwright.metrics.Scores",
}


@pytest.mark.parametrize("name", sorted(DOCUMENTED.keys() - WITHOUT_ARGUMENTS))
def test_every_argument_is_in_the_signature_and_in_the_docstring(name):
    parameters = inspect.signature(DOCUMENTED[name]).parameters.values()
    assert not [each for each in parameters if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    documented = re.findall(r"^    (\w+): \S", inspect.getdoc(DOCUMENTED[name]).partition("Args:\n")[2], re.MULTILINE)
    arguments = [each.name for each in parameters]
    assert sorted(documented[: len(arguments)]) == sorted(arguments)


@pytest.mark.parametrize("name", sorted(DOCUMENTED))
def test_docstrings_have_no_placeholder_and_no_long_line(name):
    lines = inspect.getdoc(DOCUMENTED[name]).splitlines()
    assert not [line for line in lines if PLACEHOLDER.match(line)]
    assert max(map(len, lines)) <= 120


def test_unknown_placeholder_is_an_error():
    def function():
        """Do nothing.

        {unknown}
        """

    with pytest.raises(KeyError, match="unknown"):
        fill_docstring({})(function)
