"""Map each raw mask value to a class, to background or to ignored pixels."""

from collections import Counter
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from shlex import quote
from typing import Any, Final, Literal, Self

import numpy as np
from pydantic import BaseModel, Field, field_validator

from maskwright.data.label_table import (
    BACKGROUND_NAME,
    IGNORED_NAME,
    checked_label_table,
    first_value_by_class,
    read_label_table,
)
from maskwright.data.pixel_values import (
    OTHERS,
    Value,
    as_colours,
    code,
    count_values,
    described_counts,
    grey,
    is_colour,
    joined,
    packed,
    rgb,
)
from maskwright.images.errors import ImageFault
from maskwright.images.labels import BACKGROUND_COLOUR, IGNORED, Colour, Label, distinct_colours

MAX_PROPOSED_VALUES: Final = 64
"""Largest number of distinct values for which classes are proposed; masks with more values are likely photographs."""

_UNKNOWN: Final = 254  # label index of values that are not in the table: between the last label, 253, and IGNORED
_MIN_CHANNEL_DIFFERENCE: Final = 32  # colours that differ less than this in every channel look alike in an overlay
_MAX_ENTRIES_IN_COMMAND: Final = 24


class WrongMaskValues(ImageFault):
    """Masks with values that are not in the label table or with too few or too many values."""


class MaskValues(BaseModel, frozen=True, extra="forbid"):
    """A label table, which maps each raw mask value to a class name, to ``background`` or to ``ignored``.

    Several values may share a class. The key ``others`` stands for all numbers that the table does not list. The order
    of ``classes_by_value`` is the order of the labels, so it must be preserved in storage. The constructor raises the
    errors of pydantic; for user input, use `parse_mask_values`, which raises `InputError`.

    >>> membrane = MaskValues(classes_by_value={0: "background", 255: "membrane", 128: "ignored"})
    >>> [label.name for label in membrane.labels], membrane.channels
    (['background', 'membrane'], 1)
    >>> membrane.encode(np.array([[0, 255, 128]]), file="a.png")
    array([[  0,   1, 255]], dtype=uint8)
    """

    classes_by_value: dict[Value, str] = Field(
        description='Class name, "background" or "ignored" of each raw value, a number, "#rrggbb" or "others".'
    )
    palette: dict[int, Colour] = Field(default={}, description="Colour of each value in palette masks.")

    @field_validator("classes_by_value", mode="before")
    @classmethod
    def _check(cls, table: Mapping[Any, object]) -> dict[Value, str]:
        return checked_label_table(table)

    @property
    def kind(self) -> Literal["ids", "0/255", "palette", "colours", "objects"]:
        """Kind of values: ``colours``, ``palette`` (integers with colours), ``0/255`` (0 and one other), ``objects``
        (all numbers that are not listed are one class) or ``ids``."""
        if self._has_colours:
            return "colours"
        if OTHERS in self.classes_by_value:
            return "ids" if self.classes_by_value[OTHERS] in (BACKGROUND_NAME, IGNORED_NAME) else "objects"
        if self.palette:
            return "palette"
        return "0/255" if len(self.classes_by_value) == 2 and 0 in self.classes_by_value else "ids"

    @property
    def labels(self) -> tuple[Label, ...]:
        """Labels of the table: background, if there is one, and then the classes in the order of ``classes_by_value``.

        The ``value`` of a label is the first raw value of the class, or its index for colour masks; for ``others``, it
        is the smallest number, from 0, that the table does not list. Its ``colour`` is the one used in the masks if
        those colours are distinguishable; otherwise, it is black for the background and one of `distinct_colours` for a
        class.
        """
        first = first_value_by_class(self.classes_by_value)
        others = next(number for number in count() if number not in self.classes_by_value)
        numbers = [
            index if self._has_colours else others if value == OTHERS else code(value)
            for index, value in enumerate(first.values())
        ]
        return tuple(
            Label(name=name, value=number, colour=colour, background=name == BACKGROUND_NAME)
            for name, number, colour in zip(first, numbers, self._label_colours(first), strict=True)
        )

    @property
    def channels(self) -> int:
        """Number of output channels: 1 (sigmoid) for background and one class, otherwise one per label (softmax)."""
        names = list(first_value_by_class(self.classes_by_value))
        return 1 if len(names) == 2 and names[0] == BACKGROUND_NAME else len(names)

    @property
    def text(self) -> str:
        """The table on a single line in the format of `parse_mask_values`."""
        return ",".join(f"{value}={name}" for value, name in self.classes_by_value.items())

    def key_of(self, value: Value) -> Value | None:
        """Return the key of the table that a raw value belongs to, or None if the value is not in the table.

        In a colour table, an integer denotes a shade of grey.
        """
        value = grey(value) if self._has_colours and isinstance(value, int) else value
        if value in self.classes_by_value:
            return value
        return OTHERS if OTHERS in self.classes_by_value and not is_colour(value) else None

    def class_of(self, value: Value) -> str | None:
        """Return the class name of a raw value, or None if the value is not in the table."""
        key = self.key_of(value)
        return None if key is None else self.classes_by_value[key]

    def count_classes(self, counts: Mapping[Value, int]) -> Counter[str]:
        """Sum the pixel counts of raw values by class name, omitting values that are not in the table.

        >>> MaskValues(classes_by_value={0: "background", 1: "cell", 2: "cell"}).count_classes({0: 5, 1: 2, 2: 1})
        Counter({'background': 5, 'cell': 3})
        >>> MaskValues(classes_by_value={0: "background", "others": "cell"}).count_classes({0: 5, 17: 2, 40_000: 1})
        Counter({'background': 5, 'cell': 3})
        """
        names = Counter[str]()
        for value, pixels in counts.items():
            if (name := self.class_of(value)) is not None:
                names[name] += pixels
        return names

    def encode(self, mask: np.ndarray, *, file: str | Path) -> np.ndarray:
        """Convert raw values to label indices, (h, w) uint8, with `IGNORED` for ignored pixels.

        Args:
            mask: Raw values, (h, w) integers or (h, w, 3) uint8 colours, as returned by `read_mask`.
            file: Path of the mask, used in the error message.

        Raises:
            WrongMaskValues: A value of the mask is not in the table.
        """
        if mask.ndim == 3 and not self._has_colours:
            raise self.unknown_values_error(count_values(mask), file=file)
        if mask.ndim == 2 and mask.dtype in (np.uint8, np.uint16):  # one search per possible value, not per pixel
            indices = self._lookup(np.arange(np.iinfo(mask.dtype).max + 1))[mask]
        else:
            indices = self._lookup(mask)
        unknown = indices == _UNKNOWN
        if unknown.any():
            raise self.unknown_values_error(count_values(mask, where=unknown), file=file)
        return indices

    def unknown_values_error(self, unknown: Mapping[Value, int], *, file: str | Path) -> WrongMaskValues:
        """Return the error for the values in ``unknown``, given with pixel counts, that are not in the table."""
        counts = as_colours(unknown) if self._has_colours else unknown
        return unknown_values_error(counts, classes_by_value=self.classes_by_value, file=file)

    def with_palette(self, palette: Mapping[int, Colour]) -> Self:
        """Return a copy of the table in which each value has its colour in ``palette``."""
        used = {value: colour for value, colour in palette.items() if value in self.classes_by_value}
        return self.model_copy(update={"palette": used})

    @property
    def _has_colours(self) -> bool:
        return is_colour(next(iter(self.classes_by_value)))

    def _label_colours(self, first: Mapping[str, Value]) -> list[Colour]:
        values = list(first.values())
        if self._has_colours:
            return [rgb(value) for value in values if is_colour(value)]
        in_palette = [self.palette[value] for value in values if isinstance(value, int) and value in self.palette]
        if len(in_palette) == len(first) and _are_distinguishable(in_palette):
            return in_palette
        background = [BACKGROUND_COLOUR] if BACKGROUND_NAME in first else []
        return [*background, *distinct_colours(len(first) - len(background))]

    def _lookup(self, raw: np.ndarray) -> np.ndarray:
        """Return the label indices of integers of any shape or colours (h, w, 3).

        Values that are not listed get the index of ``others``, or `_UNKNOWN` if the table has no such entry.
        """
        codes = packed(raw) if raw.ndim == 3 else raw.astype(np.int64) * 0x010101 if self._has_colours else raw
        names = first_value_by_class(self.classes_by_value)
        index_of = {name: index for index, name in enumerate(names)} | {IGNORED_NAME: IGNORED}
        listed = {code(value): index_of[name] for value, name in self.classes_by_value.items() if value != OTHERS}
        others = index_of[self.classes_by_value[OTHERS]] if OTHERS in self.classes_by_value else _UNKNOWN
        table = np.array(sorted(listed.items()))
        positions = np.searchsorted(table[:, 0], codes).clip(max=len(table) - 1)
        return np.where(table[positions, 0] == codes, table[positions, 1], others).astype(np.uint8)


def parse_mask_values(given: str | Path | Mapping[Any, object]) -> MaskValues:
    """Parse a label table given as comma-separated ``value=name`` pairs, as a YAML or JSON file or as a mapping.

    A name is a class name, ``background`` or ``ignored``. The value ``others`` stands for all numbers that the table
    does not list.

    Raises:
        WrongLabelTable: The file is missing or contains no table, a value is repeated or is neither an integer,
            ``#rrggbb`` nor ``others``, numbers are mixed with colours, a name is empty, or the number of labels is not
            between 2 and 254.

    >>> parse_mask_values("0=background,255=membrane").classes_by_value
    {0: 'background', 255: 'membrane'}
    >>> parse_mask_values("#000000=background, #800000=building").kind
    'colours'
    >>> parse_mask_values("0=background, others=nucleus").kind
    'objects'
    """
    return MaskValues(classes_by_value=read_label_table(given))


def unknown_values_error(
    unknown: Mapping[Value, int], *, classes_by_value: Mapping[Value, str], file: str | Path
) -> WrongMaskValues:
    """Return the error for the values in ``unknown``, given with pixel counts, that are not in ``classes_by_value``."""
    return WrongMaskValues(
        file=file,
        found=described_counts(unknown),
        expected=joined(f"{value} {name}" for value, name in classes_by_value.items()),
        remedy=_remedy(unknown, classes_by_value),
        values=tuple(unknown),
    )


def _remedy(unknown: Mapping[Value, int], classes_by_value: Mapping[Value, str]) -> str:
    if OTHERS in classes_by_value:
        return "Save all masks as numbers in a single channel, not as colours."
    if len(unknown) > MAX_PROPOSED_VALUES:
        return (
            "JPEG compression and interpolation produce so many values: "
            "save masks as PNG, and resize them by nearest neighbour."
        )
    if classes_by_value and {type(value) for value in unknown} != {type(value) for value in classes_by_value}:
        return "Save all masks either as numbers or as colours."
    entries = [
        f"{value}={name}" for value, name in [*classes_by_value.items(), *((value, "NAME") for value in unknown)]
    ]
    table = quote(",".join(entries)) if len(entries) <= _MAX_ENTRIES_IN_COMMAND else "and a YAML file"
    or_ignore = f", or add --ignore {quote(str(next(iter(unknown))))}" if len(unknown) == 1 else ""
    return f"Give every value a class name or {IGNORED_NAME!r} with --mask-values {table}{or_ignore}."


def _are_distinguishable(colours: list[Colour]) -> bool:
    if len(colours) < 2:
        return True
    rows = np.array(colours)
    differences = np.abs(rows[:, None] - rows[None]).max(axis=-1)
    return bool(differences[~np.eye(len(rows), dtype=bool)].min() >= _MIN_CHANNEL_DIFFERENCE)
