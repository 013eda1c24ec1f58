"""Draw object masks, in which every object has its own number."""

import numpy as np


def draw_grid(rows: int, columns: int, *, side: int = 5, gap: int = 2, first: int = 1) -> np.ndarray:
    """Return squares of ``side`` pixels with consecutive numbers, separated by ``gap`` pixels of 0, as (h, w) int32."""
    numbers = np.arange(first, first + rows * columns).reshape(rows, columns)
    tile = np.zeros((side + gap, side + gap), int)
    tile[:side, :side] = 1
    return np.kron(numbers, tile).astype(np.int32)
