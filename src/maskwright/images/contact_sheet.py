"""Arrange small images and their mask overlays on one sheet for visual inspection."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from maskwright.errors import wrong_argument
from maskwright.images.labels import Label
from maskwright.images.overlay import overlay

_GAP_IN_PAIR, _GAP_BETWEEN_PAIRS = 2, 10  # pixels
_PAPER: Final = 255


def contact_sheet(images: np.ndarray, masks: np.ndarray, labels: Sequence[Label], *, columns: int = 4) -> np.ndarray:
    """Return a sheet, (height, width, 3) uint8, of images next to their mask overlays, with ``columns`` pairs in a row.

    Args:
        images: Images for display, (n, h, w, 3) uint8; see `to_display`.
        masks: Masks (n, h, w) of indices into ``labels`` or ``IGNORED``.
        labels: Labels that the mask indices refer to; the background is not drawn.
        columns: Number of pairs in a row, at least 1; the sheet is narrower if there are fewer pairs.

    Raises:
        WrongArgument: ``images`` is empty, the shapes differ, a mask index has no label, or ``columns`` is below 1.

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
    row_step, column_step = height + _GAP_BETWEEN_PAIRS, 2 * width + _GAP_IN_PAIR + _GAP_BETWEEN_PAIRS
    rows = -(-count // columns)
    size = rows * row_step + _GAP_BETWEEN_PAIRS, columns * column_step + _GAP_BETWEEN_PAIRS, 3
    sheet = np.full(size, _PAPER, np.uint8)
    for index, (image, mask) in enumerate(zip(images, masks, strict=True)):
        top = _GAP_BETWEEN_PAIRS + index // columns * row_step
        left = _GAP_BETWEEN_PAIRS + index % columns * column_step
        for tile in (image, overlay(image, mask, labels=labels, alpha=0.25)):
            sheet[top : top + height, left : left + width] = tile
            left += width + _GAP_IN_PAIR
    return sheet
