"""Read a CSV file with a number for each image, such as the depth of a section, by which a split is stratified."""

import csv
import math
from pathlib import Path
from typing import Final

from maskwright.errors import InputError

_MAX_BYTES: Final = 2**28


class WrongStrata(InputError):
    """A CSV file that does not contain a valid number for each image."""

    text = "{file}: found {found}; expected a header line, then a line id,number for each image."


def read_strata(file: Path) -> dict[str, float]:
    """Return the number of each image, by the file name of the image without its suffix.

    Raises:
        WrongStrata: The file is missing, is too large, is not UTF-8 text, has an invalid header or a wrong number
            of columns, or contains an invalid number or a repeated id.
    """
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise WrongStrata(file=file, found=f"{file.stat().st_size} bytes")
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = [row for row in csv.reader(lines) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise WrongStrata(file=file, found=getattr(error, "strerror", None) or "no CSV in UTF-8") from None
    if rows and _is_number(rows[0][-1]):
        raise WrongStrata(file=file, found=f"{','.join(rows[0])[:40]!r} in line 1")
    numbers: dict[str, float] = {}
    for line, row in enumerate(rows[1:], start=2):
        if len(row) != 2 or row[0] in numbers:
            found = f"{len(row)} columns in line {line}" if len(row) != 2 else f"the id {row[0]} twice"
            raise WrongStrata(file=file, found=found)
        if not _is_number(row[1]):
            raise WrongStrata(file=file, found=f"{row[1]!r} in line {line}")
        numbers[row[0]] = float(row[1])
    if not numbers:
        raise WrongStrata(file=file, found="no line of numbers")
    return numbers


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
