"""What the values of a mask stand for: a class, the background, or nothing that counts."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any, Final, Literal, Self

import numpy as np
from pydantic import BaseModel, Field, field_validator

from maskwright.data.label_table import BACKGROUND_WORD, IGNORED_WORD, checked_words, first_values, read_words
from maskwright.data.pixel_values import (
    Value,
    as_colours,
    code,
    count_values,
    counted,
    grey,
    joined,
    packed,
    rgb,
)
from maskwright.images.errors import ImageFault
from maskwright.images.labels import BACKGROUND_COLOUR, IGNORED, Colour, Label, distinct_colours

MOST_PROPOSED: Final = 64
"""Distinct values above which masks are taken for pictures until every value is named."""

_UNKNOWN = 254  # above the last label, 253, and below IGNORED
_ALIKE = 32  # colours of a palette this close in every channel, such as a grey ramp's, look alike over an image
_MOST_ON_A_LINE = 24


class WrongMaskValues(ImageFault):
    """A mask with values that no class, the background or ``ignored`` accounts for."""


class MaskValues(BaseModel, frozen=True, extra="forbid"):
    """Which raw value of a mask is which class, the background, or ignored.

    Several values may share a class. The order of ``words`` is the order of the labels, so whatever stores a table
    must keep it. What a user wrote goes through `parse_mask_values`, whose mistakes are `InputError`; those made
    here are pydantic's.

    >>> membrane = MaskValues(words={0: "background", 255: "membrane", 128: "ignored"})
    >>> [label.name for label in membrane.labels], membrane.channels
    (['background', 'membrane'], 1)
    >>> membrane.encode(np.array([[0, 255, 128]]), file="a.png")
    array([[  0,   1, 255]], dtype=uint8)
    """

    words: dict[Value, str] = Field(description='Raw value, a number or "#rrggbb", to class name, background, ignored.')
    palette: dict[int, Colour] = Field(default={}, description="Colours that palette masks give their numbers.")

    @field_validator("words", mode="before")
    @classmethod
    def _check(cls, words: Mapping[Any, object]) -> dict[Value, str]:
        return checked_words(words)

    @property
    def kind(self) -> Literal["ids", "0/255", "palette", "colours"]:
        """``colours``; ``palette``, numbers that carry colours; ``0/255``, zero and one other number; else ``ids``."""
        if self._coloured:
            return "colours"
        if self.palette:
            return "palette"
        return "0/255" if len(self.words) == 2 and 0 in self.words else "ids"

    @property
    def labels(self) -> tuple[Label, ...]:
        """The background, if there is one, then the classes in the order in which ``words`` first names them.

        ``value`` is the first raw number of a class, or its position where masks hold colours. ``colour`` is the
        masks' own where they have colours that can be told apart, else black and `distinct_colours`.
        """
        first = first_values(self.words)
        numbers = [position if self._coloured else code(value) for position, value in enumerate(first.values())]
        return tuple(
            Label(name=name, value=number, colour=colour, background=name == BACKGROUND_WORD)
            for name, number, colour in zip(first, numbers, self._colours(first), strict=True)
        )

    @property
    def channels(self) -> int:
        """Channels of a network's output: 1 (sigmoid) for background and one class, else one a label (softmax)."""
        names = list(first_values(self.words))
        return 1 if len(names) == 2 and names[0] == BACKGROUND_WORD else len(names)

    @property
    def text(self) -> str:
        """The table on one line, as `parse_mask_values` reads it."""
        return ",".join(f"{value}={word}" for value, word in self.words.items())

    def word(self, value: Value) -> str | None:
        """The word for a raw value, or None; among colours a number is a grey."""
        return self.words.get(grey(value) if self._coloured and isinstance(value, int) else value)

    def count_words(self, counts: Mapping[Value, int]) -> Counter[str]:
        """Pixels of each word, from the pixels of each raw value; values without a word are left out.

        >>> MaskValues(words={0: "background", 1: "cell", 2: "cell"}).count_words({0: 5, 1: 2, 2: 1})
        Counter({'background': 5, 'cell': 3})
        """
        words = Counter[str]()
        for value, pixels in counts.items():
            if (word := self.word(value)) is not None:
                words[word] += pixels
        return words

    def encode(self, mask: np.ndarray, *, file: str | Path) -> np.ndarray:
        """Label indices, (h, w) uint8, with `IGNORED` where a pixel does not count.

        Args:
            mask: Raw values, (h, w) integers or (h, w, 3) uint8 colours, as `read_mask` returns them.
            file: Where the mask is from, for the error.

        Raises:
            WrongMaskValues: ``words`` lacks a value of the mask.
        """
        if mask.ndim == 3 and not self._coloured:
            raise self.wrong(count_values(mask), file=file)
        if mask.ndim == 2 and mask.dtype in (np.uint8, np.uint16):  # one search for each number, not for each pixel
            indices = self._find(np.arange(np.iinfo(mask.dtype).max + 1))[mask]
        else:
            indices = self._find(mask)
        unknown = indices == _UNKNOWN
        if unknown.any():
            raise self.wrong(count_values(mask, where=unknown), file=file)
        return indices

    def wrong(self, unexpected: Mapping[Value, int], *, file: str | Path) -> WrongMaskValues:
        """The error for a ``file`` that holds ``unexpected`` values, so many pixels of each."""
        shown = as_colours(unexpected) if self._coloured else unexpected
        return wrong_values(shown, words=self.words, file=file)

    def with_palette(self, palette: Mapping[int, Colour]) -> Self:
        """The same table with the colours that ``palette`` gives to its numbers."""
        return self.model_copy(update={"palette": {v: colour for v, colour in palette.items() if v in self.words}})

    @property
    def _coloured(self) -> bool:
        return isinstance(next(iter(self.words)), str)

    def _colours(self, first: Mapping[str, Value]) -> list[Colour]:
        values = list(first.values())
        if self._coloured:
            return [rgb(value) for value in values if isinstance(value, str)]
        known = [self.palette[value] for value in values if isinstance(value, int) and value in self.palette]
        if len(known) == len(first) and _told_apart(known):
            return known
        background = [BACKGROUND_COLOUR] if BACKGROUND_WORD in first else []
        return [*background, *distinct_colours(len(first) - len(background))]

    def _find(self, raw: np.ndarray) -> np.ndarray:
        """Label indices for raw numbers of any shape, or colours (h, w, 3); `_UNKNOWN` where there is no word."""
        codes = packed(raw) if raw.ndim == 3 else raw.astype(np.int64) * 0x010101 if self._coloured else raw
        index = {name: number for number, name in enumerate(first_values(self.words))} | {IGNORED_WORD: IGNORED}
        table = np.array(sorted((code(value), index[word]) for value, word in self.words.items()))
        at = np.searchsorted(table[:, 0], codes).clip(max=len(table) - 1)
        return np.where(table[at, 0] == codes, table[at, 1], _UNKNOWN).astype(np.uint8)


def parse_mask_values(given: str | Path | Mapping[Any, object]) -> MaskValues:
    """The table a user wrote: ``value=word`` pairs with commas, a YAML or JSON file of them, or a mapping.

    A word is a class name, ``background`` or ``ignored``.

    Raises:
        WrongMaskTable: no such file, or no table in it; a value that is neither a whole number nor ``#rrggbb``, or
            comes twice; numbers mixed with colours; an empty word; fewer than 2 or more than 254 labels.

    >>> parse_mask_values("0=background,255=membrane").words
    {0: 'background', 255: 'membrane'}
    >>> parse_mask_values("#000000=background, #800000=building").kind
    'colours'
    """
    return MaskValues(words=read_words(given))


def wrong_values(unexpected: Mapping[Value, int], *, words: Mapping[Value, str], file: str | Path) -> WrongMaskValues:
    """The error for ``unexpected`` values, so many pixels of each, beside those in ``words``, with the ways out."""
    return WrongMaskValues(
        file=file,
        found=counted(unexpected),
        expected=joined(f"{value} {word}" for value, word in words.items()),
        remedy=_remedy(unexpected, words),
        values=tuple(unexpected),
    )


def _remedy(unexpected: Mapping[Value, int], words: Mapping[Value, str]) -> str:
    if len(unexpected) > MOST_PROPOSED:
        return (
            "So many come from JPEG or from smooth resizing: save masks as PNG, and resize them by nearest neighbour."
        )
    if words and {type(value) for value in unexpected} != {type(value) for value in words}:
        return "Save every mask in one way, as numbers or as colours."
    entries = [f"{value}={word}" for value, word in [*words.items(), *((value, "NAME") for value in unexpected)]]
    given = quote(",".join(entries)) if len(entries) <= _MOST_ON_A_LINE else "and a YAML file"
    or_ignore = f", or give --ignore {quote(str(next(iter(unexpected))))}" if len(unexpected) == 1 else ""
    return f"Name every value, or call it {IGNORED_WORD}, with --mask-values {given}{or_ignore}."


def _told_apart(colours: list[Colour]) -> bool:
    if len(colours) < 2:
        return True
    rows = np.array(colours)
    apart = np.abs(rows[:, None] - rows[None]).max(axis=-1)
    return bool(apart[~np.eye(len(rows), dtype=bool)].min() >= _ALIKE)
