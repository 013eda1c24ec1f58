"""Images that look alike, found by a small hash: a picture saved again, or frames of a scene that stands still."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

NEAR: Final = 3
"""Bits of 64 by which the looks of near-duplicates differ at most."""

_ROWS, _COLUMNS = 8, 9
_SAMPLES = 16  # pixels along a side of a cell, at most: enough for its mean
_PARTS = 4  # two looks that differ by up to 3 bits have at least one of 4 parts in common
_TELLING = 8  # bits of either kind; below, an image is plain, or brightens one way all over, and looks like many


def look_of(image: NDArray[np.generic]) -> bytes | None:
    """The difference hash of an image (h, w, c), 8 bytes; None where it says too little to be compared.

    Each bit says whether one of 8 x 9 cells, the mean of all channels, is darker than its right neighbour: much the
    same for another size, another brightness or a little noise. (Krawetz, "Kind of like that", 2013.)

    >>> look_of(np.tile(np.uint8([0, 9, 0, 9, 0, 9, 0, 9, 0]), (8, 1))[..., None]).hex()
    'aaaaaaaaaaaaaaaa'
    """
    height, width = image.shape[:2]
    if height < _ROWS or width < _COLUMNS:
        return None
    down, right = max(1, height // (_ROWS * _SAMPLES)), max(1, width // (_COLUMNS * _SAMPLES))
    planes = np.ascontiguousarray(np.moveaxis(image[::down, ::right], -1, 0), np.float64)
    sampled = planes.sum(axis=0)  # along short axes NumPy is slow
    rows, columns = (
        np.linspace(0, side, cells, endpoint=False).astype(int)
        for side, cells in zip(sampled.shape, (_ROWS, _COLUMNS), strict=True)
    )
    cells = np.add.reduceat(np.add.reduceat(sampled, rows, axis=0), columns, axis=1)
    cells /= np.diff(columns, append=sampled.shape[1])
    darker = cells[:, :-1] < cells[:, 1:]
    telling = _TELLING <= darker.sum() <= darker.size - _TELLING
    return np.packbits(darker).tobytes() if telling else None


def near_pairs(looks: NDArray[np.uint8]) -> Iterator[tuple[int, int]]:
    """Places of looks, (n, 8) and all different, that differ by at most `NEAR` bits; a pair may come more than once.

    Only looks with a part in common are compared.

    >>> list(near_pairs(np.uint8([[0] * 8, [255] * 8, [7] + [0] * 7])))[:1]
    [(0, 2)]
    """
    looks = np.ascontiguousarray(looks)
    words, parts = looks.view(np.uint64)[:, 0], looks.view(np.uint16)  # (n,), (n, 4)
    for part in range(_PARTS):
        order = np.argsort(parts[:, part], kind="stable")
        ends = np.flatnonzero(np.diff(parts[order, part])) + 1
        for bucket in np.split(order, ends):
            inside = words[bucket]
            for place, one in enumerate(bucket[:-1], start=1):
                different = inside[place:] ^ inside[place - 1]
                for _ in range(NEAR):
                    different &= different - 1  # one bit less
                yield from ((int(one), int(other)) for other in bucket[place:][different == 0])
