"""The raw values of a mask, numbers or ``#rrggbb`` colours: how they are counted, packed and written in a message."""

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

from maskwright.images.labels import Colour

Value = int | str
"""A raw value of a mask: a number, or a colour written ``#rrggbb``."""


def packed(colours: np.ndarray) -> np.ndarray:
    """Colours (..., 3) uint8 as one number each, (...) int32: red x 65536 + green x 256 + blue."""
    red, green, blue = np.moveaxis(colours.astype(np.int32), -1, 0)
    return (red << 16) | (green << 8) | blue


def code(value: Value) -> int:
    """A raw value as the number that stands for it: itself, or a packed colour."""
    return int(value[1:], 16) if isinstance(value, str) else value


def rgb(colour: str) -> Colour:
    """Red, green and blue of ``#rrggbb``."""
    red, green, blue = bytes.fromhex(colour[1:])
    return red, green, blue


def grey(number: int) -> Value:
    """A number among colours: a mask that happens to hold greys only is read as numbers."""
    return f"#{number * 0x010101:06x}" if 0 <= number <= 255 else number


def count_values(mask: np.ndarray, *, where: np.ndarray | None = None) -> dict[Value, int]:
    """Pixels of each raw value of a mask, (h, w) integers or (h, w, 3) uint8, ``where`` (h, w) is true.

    >>> count_values(np.uint8([[0, 255, 255]]))
    {0: 1, 255: 2}
    >>> count_values(np.uint8([[[128, 0, 0], [0, 0, 0]]]))
    {'#000000': 1, '#800000': 1}
    """
    codes = packed(mask) if mask.ndim == 3 else mask
    if where is not None:
        codes = codes[where]
    if codes.dtype in (np.uint8, np.uint16):  # counting is several times faster than sorting
        pixels = np.bincount(codes.ravel())
        values = pixels.nonzero()[0]
        pixels = pixels[values]
    else:
        values, pixels = np.unique(codes, return_counts=True)
    names = (f"#{value:06x}" if mask.ndim == 3 else value for value in values.tolist())
    return dict(zip(names, pixels.tolist(), strict=True))


def as_colours(counts: Mapping[Value, int]) -> dict[Value, int]:
    """The same counts with every number from 0 to 255 written as the grey it is."""
    merged = Counter[Value]()
    for value, pixels in counts.items():
        merged[grey(value) if isinstance(value, int) else value] += pixels
    return dict(merged)


def counted(counts: Mapping[Value, int]) -> str:
    """The commonest values and their pixels, in words."""
    shown = joined(f"{value} ({pixels} pixel{'s' * (pixels != 1)})" for value, pixels in Counter(counts).most_common())
    return f"{'values' if len(counts) > 1 else 'value'} {shown}"


def joined(things: Iterable[object], *, most: int = 8) -> str:
    """The first things with commas, and how many more there are."""
    shown = [str(thing) for thing in things]
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more
