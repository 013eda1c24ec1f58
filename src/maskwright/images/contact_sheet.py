"""Many small pictures and their masks on one sheet, to see at a glance that they belong together."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from maskwright.errors import wrong_argument
from maskwright.images.labels import Label
from maskwright.images.overlay import overlay

_WITHIN, _BETWEEN = 2, 10  # pixels between an image and its mask, and between pairs
_PAPER: Final = 255


def contact_sheet(images: np.ndarray, masks: np.ndarray, labels: Sequence[Label], *, columns: int = 4) -> np.ndarray:
    """Every image beside itself with its mask drawn over it, ``columns`` pairs to a row: (height, width, 3) uint8.

    Args:
        images: (n, h, w, 3) uint8, see `to_display`.
        masks: (n, h, w) positions in ``labels``, or ``IGNORED``.
        labels: What the positions mean; the background is left clear.
        columns: Pairs in a row, at least 1; fewer pairs than that make a narrower sheet.

    Raises:
        WrongArgument: no image, shapes that differ, an index in no label, or fewer than one column.

    >>> cell = Label(name="cell", value=1, colour=(230, 159, 0))
    >>> contact_sheet(np.zeros((3, 20, 30, 3), "uint8"), np.zeros((3, 20, 30), "uint8"), labels=[cell], columns=2).shape
    (70, 154, 3)
    """
    if images.ndim != 4 or images.shape[-1] != 3 or not len(images):
        raise wrong_argument("images", f"array of shape {images.shape}", expected="shape (n, h, w, 3), n at least 1")
    if masks.shape != images.shape[:3]:
        raise wrong_argument("masks", f"array of shape {masks.shape}", expected=f"shape {images.shape[:3]}")
    if columns < 1:
        raise wrong_argument("columns", columns, expected="at least 1")
    count, height, width = masks.shape
    columns = min(columns, count)
    step_down, step_right = height + _BETWEEN, 2 * width + _WITHIN + _BETWEEN
    rows = -(-count // columns)
    sheet = np.full((rows * step_down + _BETWEEN, columns * step_right + _BETWEEN, 3), _PAPER, np.uint8)
    for number, (image, mask) in enumerate(zip(images, masks, strict=True)):
        top = _BETWEEN + number // columns * step_down
        left = _BETWEEN + number % columns * step_right
        for tile in (image, overlay(image, mask, labels=labels, alpha=0.25)):
            sheet[top : top + height, left : left + width] = tile
            left += width + _WITHIN
    return sheet
