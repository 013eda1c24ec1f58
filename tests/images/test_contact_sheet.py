"""A sheet has every pair in order: the image on the left and its overlay on the right."""

import numpy as np
import pytest

from maskwright.errors import WrongArgument
from maskwright.images.contact_sheet import contact_sheet
from maskwright.images.labels import IGNORED, Label

BACKGROUND = Label(name="background", value=0, colour=(0, 0, 0), background=True)
CELL = Label(name="cell", value=1, colour=(230, 159, 0))


def flat(*greys: int, height: int = 20, width: int = 30) -> np.ndarray:
    return np.stack([np.full((height, width, 3), grey, np.uint8) for grey in greys])


def test_pairs_are_in_reading_order():
    masks = np.zeros((3, 20, 30), np.uint8)
    masks[1, 5:15, 10:20] = 1
    sheet = contact_sheet(flat(50, 100, 150), masks, labels=[BACKGROUND, CELL], columns=2)
    # A margin of 10, then 30 + 2 + 30 columns a pair and 10 between pairs; rows of 20 with 10 between them.
    assert (sheet[10:30, 10:40] == 50).all()
    assert (sheet[10:30, 42:72] == 50).all()
    assert (sheet[10:30, 82:112] == 100).all()
    assert (sheet[40:60, 10:40] == 150).all()
    drawn = sheet[10:30, 114:144]
    assert (drawn != 100).any(axis=-1).tolist() == (masks[1] == 1).tolist()
    assert drawn[5, 10].tolist() == [230, 159, 0]  # the outline, in full colour
    inner = drawn[10, 15]
    assert inner.tolist() == [round(0.75 * 100 + 0.25 * c) for c in (230, 159, 0)]
    gaps = np.ones(sheet.shape[:2], bool)
    for top, left in [(10, 10), (10, 42), (10, 82), (10, 114), (40, 10), (40, 42)]:
        gaps[top : top + 20, left : left + 30] = False
    assert (sheet[gaps] == 255).all()


def test_fewer_pairs_than_columns_make_a_narrower_sheet():
    sheet = contact_sheet(flat(9), np.zeros((1, 20, 30), np.uint8), labels=[BACKGROUND], columns=4)
    assert sheet.shape == (10 + 20 + 10, 10 + 30 + 2 + 30 + 10, 3)


def test_ignored_pixels_are_hatched():
    masks = np.full((1, 20, 30), IGNORED, np.uint8)
    drawn = contact_sheet(flat(50), masks, labels=[BACKGROUND, CELL])[10:30, 42:72]
    assert {tuple(pixel) for pixel in drawn.reshape(-1, 3).tolist()} == {(50, 50, 50), (150, 150, 150)}


@pytest.mark.parametrize(
    ("images", "masks", "columns", "words"),
    [
        (np.zeros((0, 4, 4, 3), np.uint8), np.zeros((0, 4, 4), np.uint8), 4, r"images=.*\(0, 4, 4, 3\).*n at least 1"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8), 4, r"images=.*shape \(n, h, w, 3\)"),
        (flat(1), np.zeros((1, 20, 29), np.uint8), 4, r"masks=.*\(1, 20, 29\).*expected shape \(1, 20, 30\)"),
        (flat(1), np.zeros((1, 20, 30), np.uint8), 0, r"columns=0: expected at least 1"),
    ],
)
def test_invalid_arguments_are_an_error(images, masks, columns, words):
    with pytest.raises(WrongArgument, match=words):
        contact_sheet(images, masks, labels=[BACKGROUND], columns=columns)
