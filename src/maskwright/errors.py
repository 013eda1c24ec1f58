"""Define errors in user input as classes with fields and a message template.

The command line prints the message of an error.
"""

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import ClassVar, TypeVar

T = TypeVar("T")


class InputError(ValueError):
    """Invalid input; the message states what was given, what was found or expected, and what to do.

    Subclasses set ``text``, a format string for the keyword arguments of the constructor, which are stored in
    ``fields``.
    """

    text: ClassVar[str] = "{message}"

    def __init__(self, **fields: object) -> None:
        self.fields = fields
        super().__init__(self.text.format(**fields))

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.fields)


def _rebuild(cls: type[InputError], fields: Mapping[str, object]) -> InputError:
    return cls(**fields)


class UnknownChoice(InputError):
    """A name that is not one of the allowed names."""

    text = "{argument}={given!r} is not known; expected one of {allowed}.{hint}"


class WrongArgument(InputError):
    """An argument with an invalid value."""

    text = "{argument}={given!r}: expected {expected}.{hint}"


class MissingPackage(InputError):
    """An optional package that is not installed, cannot be imported or is too old.

    The fields are ``purpose`` (what requires the package), ``package`` (one or more names), ``reason`` and ``command``
    (the command that installs the package).
    """

    text = "{purpose} requires {package}{reason}. Install with: {command}."


def missing_package(purpose: str, package: str, *, install: str, reason: object = "") -> MissingPackage:
    """Return a `MissingPackage` error whose command installs the requirement ``install`` with pip.

    >>> missing_package("Reading a.zarr", "zarr", install="maskwright[zarr]")
    MissingPackage("Reading a.zarr requires zarr. Install with: pip install 'maskwright[zarr]'.")
    """
    command = f"pip install '{install}'"
    return MissingPackage(purpose=purpose, package=package, reason=f" ({reason})" if reason else "", command=command)


def wrong_argument(argument: str, given: object, *, expected: str, hint: str = "") -> WrongArgument:
    """Return a `WrongArgument` error, with an optional hint as the second sentence of its message."""
    return WrongArgument(argument=argument, given=given, expected=expected, hint=f" {hint}" if hint else "")


def unknown_choice(argument: str, given: object, allowed: Collection[str]) -> UnknownChoice:
    """Return an `UnknownChoice` error whose message suggests the closest allowed name."""
    close = get_close_matches(str(given), list(allowed), n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return UnknownChoice(argument=argument, given=given, allowed=", ".join(allowed), hint=hint)


def one_of(argument: str, given: str, table: Mapping[str, T]) -> T:
    """Return the entry of ``table`` with the name ``given``.

    Raises:
        UnknownChoice: ``table`` has no entry ``given``; the message lists all names and suggests the closest one.

    >>> one_of("size", "large", {"small": 1, "large": 2})
    2
    """
    if not isinstance(given, str) or given not in table:
        raise unknown_choice(argument, given, table)
    return table[given]
