"""Imports between the parts of the package point one way, and prediction imports no training framework."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import maskwright

SOURCE = Path(maskwright.__file__).parent

# Parts that each part may import in addition to itself.
ALLOWED = {
    "errors": set(),
    "framework": {"errors"},
    "images": {"errors"},
    "networks": {"errors"},
    "losses": {"errors"},
    "metrics": {"errors", "losses"},
    "rewrite": {"errors", "networks"},
    "weights": {"errors", "images", "networks"},
    "models": {"errors", "networks", "weights"},
    "inference": {"errors", "framework", "images", "networks"},
    "data": {"errors", "images"},
    "training": {
        *("errors", "framework", "images", "networks", "rewrite", "weights", "models", "losses", "metrics"),
        *("inference", "data"),
    },
    "report": {"errors", "images", "metrics", "inference", "data", "training"},
    "compare": {"errors", "images", "metrics", "training", "report"},
    "tune": {"errors", "images", "inference", "metrics", "data", "training", "report"},
    "tgs_salt": {"errors", "images", "data", "inference", "training"},
    "conversion": {"errors", "images", "data", "networks", "weights", "models", "inference", "training"},
    "export": {"errors", "framework", "images", "data", "rewrite", "inference", "training"},
    "segmenter": {"errors", "images", "inference", "data", "training", "report", "tune", "export"},
    "cli": {
        *("errors", "framework", "images", "data", "networks", "inference", "metrics", "training", "export"),
        *("conversion", "segmenter", "compare", "report", "tune", "tgs_salt", "weights"),
    },
    "__init__": {"errors", "losses", "metrics", "networks", "weights", "models", "training", "segmenter"},
}


def part_of(file):
    relative = file.relative_to(SOURCE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imported_parts(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("maskwright."))


def test_the_table_of_imports_lists_every_part():
    assert {part_of(file) for file in SOURCE.rglob("*.py")} == set(ALLOWED)


@pytest.mark.parametrize("file", sorted(SOURCE.rglob("*.py")), ids=lambda file: str(file.relative_to(SOURCE)))
def test_a_file_imports_only_the_parts_that_its_part_may_import(file):
    part = part_of(file)
    assert set(imported_parts(file)) - {part} <= ALLOWED[part]


@pytest.mark.parametrize(
    "module",
    [
        "maskwright",
        "maskwright.cli",
        "maskwright.segmenter",
        "maskwright.inference.predict_folder",
        "maskwright.images.read",
        "maskwright.metrics.scores",
        "maskwright.data.check",
        "maskwright.report.page",
        "maskwright.compare.page",
        "maskwright.cli.tables",
        "maskwright.training.begin_or_resume",
        "maskwright.training.prepare",
        "maskwright.weights.download",
    ],
)
def test_import_loads_no_training_framework(module):
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert module in loaded
    assert not {"keras", "tensorflow", "jax", "torch"} & set(loaded)


def test_every_public_name_exists_and_has_a_docstring():
    for name in maskwright.__all__:
        value = getattr(maskwright, name)
        assert name == "__version__" or value.__doc__
    with pytest.raises(AttributeError, match="no attribute 'Unett'"):
        maskwright.Unett  # noqa: B018
