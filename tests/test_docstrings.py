"""The Args section of a docstring lists each parameter of the function, one entry per parameter."""

import ast
import re
from pathlib import Path

import pytest

import maskwright

SOURCE = Path(maskwright.__file__).parent
PLACEHOLDERS = re.compile(r"^ {4}\{\w+\}$")  # filled in when the module is imported; see test_documented_arguments.py


def documented_functions():
    for file in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            text = ast.get_docstring(node) or "" if isinstance(node, ast.FunctionDef) else ""
            if match := re.search(r"^Args:\n(.*?)(?:\n\n|\n(?=\S)|\Z)", text, re.MULTILINE | re.DOTALL):
                section = match[1].splitlines()
                if not any(PLACEHOLDERS.match(line) for line in section):
                    yield pytest.param(node, section, id=f"{file.relative_to(SOURCE)}:{node.name}")


@pytest.mark.parametrize(("function", "section"), documented_functions())
def test_each_parameter_has_an_entry(function, section):
    arguments = function.args
    parameters = [each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    entries = [match[1] for line in section if (match := re.match(r"^ {4}([\w*, ]+):( |$)", line))]
    documented = {name.strip(" *") for entry in entries for name in entry.split(",")}
    assert set(parameters) - {"self", "cls"} <= documented
