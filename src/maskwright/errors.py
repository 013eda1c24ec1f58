"""Mistakes a user can make, as data: each is a class with fields and one template, shown once, at the door."""

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import ClassVar, TypeVar

T = TypeVar("T")


class InputError(ValueError):
    """Something the user gave cannot be used; the text names it, what was found, what was expected and what to do.

    Subclasses set ``text``, a format string over the keyword arguments they are raised with.
    """

    text: ClassVar[str] = "{message}"

    def __init__(self, **fields: object) -> None:
        self.fields = fields
        super().__init__(self.text.format(**fields))

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.fields)


def _rebuild(kind: type[InputError], fields: Mapping[str, object]) -> InputError:
    return kind(**fields)


class UnknownChoice(InputError):
    """A name that stands in no table."""

    text = "{argument}={given!r} is not known; expected one of {allowed}.{hint}"


class WrongArgument(InputError):
    """An argument whose value cannot be used."""

    text = "{argument}={given!r}: expected {expected}.{hint}"


class MissingPackage(InputError):
    """An optional package that is not installed, cannot be imported or is too old.

    Fields: ``purpose`` (what needs it), ``package`` (one or more names), ``reason`` and ``command`` (installs it).
    """

    text = "{purpose} requires {package}{reason}. Install with: {command}."


def missing_package(purpose: str, package: str, *, install: str, reason: object = "") -> MissingPackage:
    """Return a `MissingPackage` whose command installs the requirement ``install`` with pip.

    >>> missing_package("Reading a.zarr", "zarr", install="maskwright[zarr]")
    MissingPackage("Reading a.zarr requires zarr. Install with: pip install 'maskwright[zarr]'.")
    """
    command = f"pip install '{install}'"
    return MissingPackage(purpose=purpose, package=package, reason=f" ({reason})" if reason else "", command=command)


def wrong_argument(argument: str, given: object, *, expected: str, hint: str = "") -> WrongArgument:
    """A `WrongArgument`, with an optional hint as a second sentence."""
    return WrongArgument(argument=argument, given=given, expected=expected, hint=f" {hint}" if hint else "")


def unknown_choice(argument: str, given: object, allowed: Collection[str]) -> UnknownChoice:
    """An `UnknownChoice` that suggests the nearest allowed name."""
    near = get_close_matches(str(given), list(allowed), n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return UnknownChoice(argument=argument, given=given, allowed=", ".join(allowed), hint=hint)


def one_of(argument: str, given: str, table: Mapping[str, T]) -> T:
    """The entry of ``table`` called ``given``.

    Raises:
        UnknownChoice: ``given`` stands in no row; the message lists the rows and the nearest one.

    >>> one_of("size", "large", {"small": 1, "large": 2})
    2
    """
    if not isinstance(given, str) or given not in table:
        raise unknown_choice(argument, given, table)
    return table[given]
