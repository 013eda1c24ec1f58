"""Every public loss and metric has explicit arguments and documents each of them."""

import inspect
import re

import pytest

from maskwright import losses, metrics

DOCUMENTED = {
    f"{module.__name__}.{name}": value
    for module in (losses, metrics)
    for name in module.__all__
    if inspect.isroutine(value := getattr(module, name)) or inspect.isclass(value)
}
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
