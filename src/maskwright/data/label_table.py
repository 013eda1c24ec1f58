"""Read and check a label table, which maps each raw mask value to a class, from a command line, a file or a recipe."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import yaml

from maskwright.data.pixel_values import OTHERS, Value, is_colour
from maskwright.errors import InputError

MaskKind = Literal["class_ids", "objects"]
"""Meaning of the numbers in masks: each is a class, or each except 0 is an object."""

BACKGROUND_NAME: Final = "background"
IGNORED_NAME: Final = "ignored"
MAX_LABELS: Final = 254
"""Largest number of labels; of the 256 label indices, 255 marks ignored pixels and 254 marks unlisted values."""

_INTEGER = re.compile(r"[+-]?\d{1,9}")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


class WrongLabelTable(InputError):
    """An invalid label table."""

    text = "{source}: found {found}; expected {expected}.{hint}"


def read_label_table(given: str | Path | Mapping[Any, object]) -> dict[Value, str]:
    """Read a label table given as comma-separated ``value=name`` pairs, as a YAML or JSON file or as a mapping.

    Raises:
        WrongLabelTable: The label table is invalid; see `parse_mask_values`.
    """
    if isinstance(given, Mapping):
        return checked_label_table(given)
    if "=" not in str(given):
        return checked_label_table(_load(Path(given)), source=given)
    pairs: dict[str, str] = {}
    for entry in str(given).split(","):
        value, equals, name = (part.strip() for part in entry.partition("="))
        if not equals:
            raise _error(given, f"{entry.strip()!r}", "comma-separated value=name pairs")
        if value in pairs:
            raise _error(given, f"the value {value} twice", "each value once")
        pairs[value] = name
    return checked_label_table(pairs, source=given)


def checked_label_table(table: Mapping[Any, object], *, source: str | Path = "mask values") -> dict[Value, str]:
    """Return a label table with normalised class names and with raw values as integers or lower-case ``#rrggbb``.

    The key ``others`` stands for all numbers that the table does not list.

    Raises:
        WrongLabelTable: The label table is invalid (see `parse_mask_values`); the message names ``source``.
    """
    checked: dict[Value, str] = {}
    for key, name in table.items():
        value = OTHERS if str(key).strip() == OTHERS else raw_value(key, source=source)
        if value in checked:
            raise _error(source, f"the value {value} twice", "each value once")
        checked[value] = _checked_name(name, source=source)
    if len({is_colour(value) for value in checked}) > 1:
        if all(is_colour(value) or value == OTHERS for value in checked):
            raise _error(source, f"{OTHERS!r} in a table of colours", f"{OTHERS!r} only in a table of numbers")
        raise _error(source, "both numbers and colours", "only numbers or only colours")
    labels = set(checked.values()) - {IGNORED_NAME}
    if not 2 <= len(labels) <= MAX_LABELS:
        raise _error(source, f"{len(labels)} classes, including background", f"2 to {MAX_LABELS}")
    return checked


def raw_value(given: object, *, source: str | Path) -> Value:
    """Return a raw mask value as an integer or lower-case ``#rrggbb``.

    Raises:
        WrongLabelTable: ``given`` is neither an integer nor a colour.
    """
    if isinstance(given, int) and not isinstance(given, bool):
        return given
    text = str(given).strip()
    if _INTEGER.fullmatch(text):
        return int(text)
    if _COLOUR.fullmatch(text):
        return text.lower()
    raise _error(source, f"the mask value {text!r}", "an integer or a colour such as '#800000'")


def first_value_by_class(table: Mapping[Value, str]) -> dict[str, Value]:
    """Return the first raw value of background and of each class, with background first and classes in table order."""
    names: dict[str, Value] = {}
    for value, name in table.items():
        names.setdefault(name, value)
    names.pop(IGNORED_NAME, None)
    background = {BACKGROUND_NAME: names.pop(BACKGROUND_NAME)} if BACKGROUND_NAME in names else {}
    return background | names


def _checked_name(given: object, *, source: str | Path) -> str:
    name = given.strip() if isinstance(given, str) else ""
    if not name or not name.isprintable() or set(name) & set(",="):
        hint = "In YAML, quote names such as yes, no, on and off." if isinstance(given, bool) else ""
        expected = f"a class name without comma or equals sign, {BACKGROUND_NAME} or {IGNORED_NAME}"
        raise _error(source, f"the name {given!r}", expected, hint=hint)
    return name.lower() if name.lower() in (BACKGROUND_NAME, IGNORED_NAME) else name


def _load(file: Path) -> Mapping[Any, object]:
    try:
        table = yaml.safe_load(file.read_text(encoding="utf-8"))  # JSON is a subset of YAML
    except FileNotFoundError:
        expected = "an existing file, or value=name pairs such as 0=background,255=cell"
        raise _error(file, "no such file", expected) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise _error(file, f"a file that cannot be read ({reason})", "YAML or JSON") from error
    if not isinstance(table, Mapping):
        hint = "In YAML, quote colours: an unquoted # starts a comment."
        raise _error(file, "no mapping", "lines such as 0: background", hint=hint)
    return table


def _error(source: str | Path, found: str, expected: str, *, hint: str = "") -> WrongLabelTable:
    return WrongLabelTable(source=source, found=found, expected=expected, hint=f" {hint}" if hint else "")
