import numpy as np
import pytest
from scipy import ndimage

from maskwright.images.components import cleaned, components


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("diagonal", [False, True])
def test_parts_are_those_that_scipy_finds(seed, diagonal):
    rng = np.random.default_rng(seed)
    size = tuple(rng.integers(1, 40, 2))
    mask = rng.random(size) < rng.choice([0.0, 0.3, 0.55, 0.7, 1.0])
    parts, pixels = components(mask, diagonal=diagonal)
    expected, number = ndimage.label(mask, structure=np.ones((3, 3)) if diagonal else None)
    assert len(pixels) == number + 1
    assert len(set(zip(parts.ravel(), expected.ravel(), strict=True))) == len(np.unique(expected))
    np.testing.assert_array_equal(parts > 0, mask)
    np.testing.assert_array_equal(pixels, np.bincount(parts.ravel(), minlength=number + 1))


def test_a_spiral_is_one_part():
    turns = np.zeros((61, 61), bool)
    row = column = 30
    for length in range(2, 60, 2):
        for step in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            for _ in range(length // 2 * 2 if step[0] <= 0 <= step[1] or step[1] <= 0 <= step[0] else length):
                if 0 <= row < 61 and 0 <= column < 61:
                    turns[row, column] = True
                row, column = row + step[0], column + step[1]
        column += 1
    _, number = ndimage.label(turns)
    assert len(components(turns, diagonal=False)[1]) == number + 1


@pytest.mark.parametrize("seed", range(10))
def test_holes_and_specks_of_one_class_are_those_that_scipy_finds(seed):
    rng = np.random.default_rng(seed)
    mask = ndimage.gaussian_filter(rng.normal(size=(50, 60)), 2) > 0.02
    filled = ndimage.binary_fill_holes(mask)
    parts, number = ndimage.label(filled, structure=np.ones((3, 3)))
    areas = ndimage.sum(filled, parts, range(number + 1))
    expected = filled & (areas[parts] >= 40)
    clean = cleaned(mask.astype(np.uint8), min_component_sizes=(0, 40), fill_holes=True)
    np.testing.assert_array_equal(clean, expected)


def test_a_hole_between_two_classes_stays():
    labels = np.array([[1, 1, 2, 2], [1, 0, 0, 2], [1, 1, 2, 2]], np.uint8)
    np.testing.assert_array_equal(cleaned(labels, fill_holes=True), labels)


def test_a_hole_takes_the_class_around_it_and_leaves_the_others():
    labels = np.zeros((9, 20), np.uint8)
    labels[1:8, 1:8], labels[3:5, 3:5] = 3, 0
    labels[1:8, 10:18], labels[2:4, 12:14], labels[6, 16] = 1, 0, 2
    clean = cleaned(labels, fill_holes=True)
    assert (clean[3:5, 3:5] == 3).all()
    assert (clean[2:4, 12:14] == 1).all()
    assert clean[6, 16] == 2


def test_each_class_has_its_own_least_area():
    labels = np.zeros((4, 12), np.uint8)
    labels[0, :3], labels[2, :3], labels[0, 6:8] = 1, 2, 2
    clean = cleaned(labels, min_component_sizes=(0, 4, 3))
    assert (clean == 1).sum() == 0
    assert (clean == 2).sum() == 3


def test_what_was_given_is_not_changed():
    labels = np.ones((3, 3), np.uint8)
    labels[1, 1] = 0
    cleaned(labels, min_component_sizes=(0, 100), fill_holes=True)
    assert labels.sum() == 8
