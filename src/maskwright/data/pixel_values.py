"""Count, convert and format the raw values of masks, which are integers or colours written as ``#rrggbb``."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, TypeGuard

import numpy as np

from maskwright.images.labels import Colour

Value = int | str
"""A raw value of a mask: an integer or a colour written as ``#rrggbb``.

A label table and pixel counts can also contain `OTHERS`.
"""
OTHERS: Final = "others"
"""Key for all numbers that a label table does not list, in the table itself and in pixel counts."""


def is_colour(value: Value) -> TypeGuard[str]:
    """Return whether a raw value is a colour."""
    return isinstance(value, str) and value != OTHERS


def packed(colours: np.ndarray) -> np.ndarray:
    """Return colours, (..., 3) uint8, as integers, (...) int32: red * 65536 + green * 256 + blue."""
    red, green, blue = np.moveaxis(colours.astype(np.int32), -1, 0)
    return (red << 16) | (green << 8) | blue


def code(value: Value) -> int:
    """Return a raw value as an integer; colours are packed."""
    return int(value[1:], 16) if isinstance(value, str) else value


def rgb(colour: str) -> Colour:
    """Return the red, green and blue values of ``#rrggbb``."""
    red, green, blue = bytes.fromhex(colour[1:])
    return red, green, blue


def grey(number: int) -> Value:
    """Convert an integer from 0 to 255 to a grey colour ``#rrggbb``; other integers are returned unchanged.

    A colour mask that contains only shades of grey is read as integers; after the conversion, its values can be
    compared with those of other colour masks.
    """
    return f"#{number * 0x010101:06x}" if 0 <= number <= 255 else number


def count_values(mask: np.ndarray, *, where: np.ndarray | None = None) -> dict[Value, int]:
    """Count the pixels of each raw value in a mask, an array (h, w) of integers or (h, w, 3) of uint8 colours.

    Only pixels at which ``where`` (h, w) is true are counted.

    >>> count_values(np.uint8([[0, 255, 255]]))
    {0: 1, 255: 2}
    >>> count_values(np.uint8([[[128, 0, 0], [0, 0, 0]]]))
    {'#000000': 1, '#800000': 1}
    """
    codes = packed(mask) if mask.ndim == 3 else mask
    if where is not None:
        codes = codes[where]
    if codes.dtype in (np.uint8, np.uint16):  # np.bincount is several times as fast as the sort in np.unique
        pixels = np.bincount(codes.ravel())
        values = pixels.nonzero()[0]
        pixels = pixels[values]
    else:
        values, pixels = np.unique(codes, return_counts=True)
    names = (f"#{value:06x}" if mask.ndim == 3 else value for value in values.tolist())
    return dict(zip(names, pixels.tolist(), strict=True))


def as_colours(counts: Mapping[Value, int]) -> dict[Value, int]:
    """Return pixel counts in which values from 0 to 255 are replaced by grey colours."""
    merged = Counter[Value]()
    for value, pixels in counts.items():
        merged[grey(value) if isinstance(value, int) else value] += pixels
    return dict(merged)


def described_counts(counts: Mapping[Value, int]) -> str:
    """Describe the most frequent mask values and their pixel counts in a message.

    >>> described_counts({7: 1, 9: 20})
    'values 9 (20 pixels), 7 (1 pixel)'
    """
    ranked = Counter(counts).most_common()
    listed = joined(f"{value} ({pixels} pixel{'s' * (pixels != 1)})" for value, pixels in ranked)
    return f"{'values' if len(counts) > 1 else 'value'} {listed}"


def joined(items: Iterable[object], *, limit: int = 8) -> str:
    """Join the first ``limit`` items with commas and state how many are omitted.

    >>> joined("abcd", limit=2)
    'a, b and 2 more'
    """
    texts = [str(item) for item in items]
    more = f" and {len(texts) - limit} more" if len(texts) > limit else ""
    return ", ".join(texts[:limit]) + more
