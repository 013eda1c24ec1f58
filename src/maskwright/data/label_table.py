"""The words a user gives to mask values, from a command line, a file or a recipe, checked."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from maskwright.data.pixel_values import Value
from maskwright.errors import InputError

BACKGROUND_WORD: Final = "background"
IGNORED_WORD: Final = "ignored"
MOST_LABELS: Final = 254
"""Labels of a mask: index 255 is for ignored pixels, and one is kept to mark a value that is in no table."""

_INTEGER = re.compile(r"[+-]?\d{1,9}")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


class WrongMaskTable(InputError):
    """A table of mask values that cannot be used."""

    text = "{source}: found {found}; expected {expected}.{hint}"


def read_words(given: str | Path | Mapping[Any, object]) -> dict[Value, str]:
    """Raw value to word, from ``value=word`` pairs with commas, a YAML or JSON file, or a mapping, checked.

    Raises:
        WrongMaskTable: as `parse_mask_values` says.
    """
    if isinstance(given, Mapping):
        return checked_words(given)
    if "=" not in str(given):
        return checked_words(_loaded(Path(given)), source=given)
    pairs: dict[str, str] = {}
    for entry in str(given).split(","):
        value, equals, word = (part.strip() for part in entry.partition("="))
        if not equals:
            raise _wrong(given, f"{entry.strip()!r}", "value=word, with commas between")
        if value in pairs:
            raise _wrong(given, f"{value} twice", "one word for a value")
        pairs[value] = word
    return checked_words(pairs, source=given)


def checked_words(words: Mapping[Any, object], *, source: str | Path = "mask values") -> dict[Value, str]:
    """The same table with integers and lower-case ``#rrggbb`` as its keys and clean words."""
    checked: dict[Value, str] = {}
    for key, word in words.items():
        value = raw_value(key, source=source)
        if value in checked:
            raise _wrong(source, f"{value} twice", "one word for a value")
        checked[value] = _word(word, source=source)
    if len({type(value) for value in checked}) > 1:
        raise _wrong(source, "numbers and colours", "one kind of value")
    labels = set(checked.values()) - {IGNORED_WORD}
    if not 2 <= len(labels) <= MOST_LABELS:
        raise _wrong(source, f"{len(labels)} classes, background included", f"2 to {MOST_LABELS}")
    return checked


def raw_value(given: object, *, source: str | Path) -> Value:
    """A raw mask value as an integer or lower-case ``#rrggbb``.

    Raises:
        WrongMaskTable: it is neither.
    """
    if isinstance(given, int) and not isinstance(given, bool):
        return given
    text = str(given).strip()
    if _INTEGER.fullmatch(text):
        return int(text)
    if _COLOUR.fullmatch(text):
        return text.lower()
    raise _wrong(source, f"the mask value {text!r}", "a whole number, or a colour such as '#800000'")


def first_values(words: Mapping[Value, str]) -> dict[str, Value]:
    """The name of each label in order, background first, and the first of its raw values."""
    names: dict[str, Value] = {}
    for value, word in words.items():
        names.setdefault(word, value)
    names.pop(IGNORED_WORD, None)
    background = {BACKGROUND_WORD: names.pop(BACKGROUND_WORD)} if BACKGROUND_WORD in names else {}
    return background | names


def _word(given: object, *, source: str | Path) -> str:
    word = given.strip() if isinstance(given, str) else ""
    if not word or not word.isprintable() or set(word) & set(",="):
        hint = "In YAML, put words such as yes, no, on and off in quotes." if isinstance(given, bool) else ""
        expected = f"a class name without comma or equals sign, {BACKGROUND_WORD} or {IGNORED_WORD}"
        raise _wrong(source, f"the word {given!r}", expected, hint=hint)
    return word.lower() if word.lower() in (BACKGROUND_WORD, IGNORED_WORD) else word


def _loaded(file: Path) -> Mapping[Any, object]:
    try:
        words = yaml.safe_load(file.read_text(encoding="utf-8"))  # every JSON file is a YAML file
    except FileNotFoundError:
        raise _wrong(
            file, "no file of that name", "a file, or value=word pairs such as 0=background,255=cell"
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise _wrong(file, f"a file that cannot be read ({reason})", "YAML or JSON") from error
    if not isinstance(words, Mapping):
        hint = "In YAML, put colours in quotes: a bare # starts a comment."
        raise _wrong(file, "no table", "lines such as 0: background", hint=hint)
    return words


def _wrong(source: str | Path, found: str, expected: str, *, hint: str = "") -> WrongMaskTable:
    return WrongMaskTable(source=source, found=found, expected=expected, hint=f" {hint}" if hint else "")
