"""Write the warnings about a data set to a file of the run."""

from collections.abc import Sequence
from pathlib import Path

from maskwright.data.problems import Problem
from maskwright.images.write import write_text


def write_data_warnings(file: Path, warnings: Sequence[Problem]) -> None:
    """Write all warnings and the files that they concern to a text file. If there are no warnings, no file is
    written."""
    if warnings:
        write_text(file, "\n".join(_described(warning) for warning in warnings))


def _described(warning: Problem) -> str:
    return "".join(f"{line}\n" for line in (warning.message, *(f"  {file}" for file in warning.files)))
