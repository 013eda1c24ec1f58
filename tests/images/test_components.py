"""Components, holes and small components match results computed by hand and by independent code."""

from collections import deque

import numpy as np
import pytest
from scipy import ndimage

from maskwright.images.components import cleaned, components


def flood_filled(mask, diagonal):
    """The component index of each pixel, in scan order, by breadth-first search."""
    offsets = [(-1, 0), (0, -1), (0, 1), (1, 0)] + diagonal * [(-1, -1), (-1, 1), (1, -1), (1, 1)]
    indices = np.zeros(mask.shape, int)
    for start in zip(*np.nonzero(mask), strict=True):
        if indices[start]:
            continue
        indices[start] = index = indices.max() + 1
        queue = deque([start])
        while queue:
            row, column = queue.popleft()
            for down, right in offsets:
                pixel = row + down, column + right
                inside = 0 <= pixel[0] < mask.shape[0] and 0 <= pixel[1] < mask.shape[1]
                if inside and mask[pixel] and not indices[pixel]:
                    indices[pixel] = index
                    queue.append(pixel)
    return indices


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("diagonal", [False, True])
def test_components_match_a_flood_fill(seed, diagonal):
    rng = np.random.default_rng(seed)
    size = tuple(rng.integers(1, 40, 2))
    mask = rng.random(size) < rng.choice([0.0, 0.3, 0.55, 0.7, 1.0])
    indices, sizes = components(mask, diagonal=diagonal)
    expected = flood_filled(mask, diagonal)
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_array_equal(sizes, np.bincount(expected.ravel(), minlength=expected.max() + 1))


@pytest.mark.parametrize("seed", range(10))
def test_holes_and_small_components_of_one_class_match_scipy(seed):
    rng = np.random.default_rng(seed)
    mask = ndimage.gaussian_filter(rng.normal(size=(50, 60)), 2) > 0.02
    filled = ndimage.binary_fill_holes(mask)
    indices = flood_filled(filled, diagonal=True)
    expected = filled & (np.bincount(indices.ravel())[indices] >= 40)
    result = cleaned(mask.astype(np.uint8), min_component_sizes=(0, 40), fill_holes=True)
    np.testing.assert_array_equal(result, expected)


def test_a_spiral_is_one_component_and_encloses_no_hole():
    spiral = np.zeros((61, 61), np.uint8)
    row, column, step = 30, 30, (0, 1)
    spiral[row, column] = 1
    for turn in range(58):
        for _ in range(turn // 2 * 2 + 2):  # each arm is two pixels longer than the one before the last
            row, column = row + step[0], column + step[1]
            spiral[row, column] = 1
        step = step[1], -step[0]
    size = int(spiral.sum())
    np.testing.assert_array_equal(cleaned(spiral, min_component_sizes=(0, size), fill_holes=True), spiral)
    assert not cleaned(spiral, min_component_sizes=(0, size + 1)).any()
    spiral[0] = spiral[-1] = spiral[:, 0] = spiral[:, -1] = 1
    assert cleaned(spiral, fill_holes=True).all()


def test_a_hole_between_two_classes_is_not_filled():
    labels = np.array([[1, 1, 2, 2], [1, 0, 0, 2], [1, 1, 2, 2]], np.uint8)
    np.testing.assert_array_equal(cleaned(labels, fill_holes=True), labels)


@pytest.mark.parametrize("labels", [np.zeros((3, 4), np.uint8), np.ones((3, 4), np.uint8)])
def test_an_image_of_one_label_is_unchanged(labels):
    np.testing.assert_array_equal(cleaned(labels, fill_holes=True, min_component_sizes=(0, 12)), labels)


def test_ignored_pixels_are_outside_the_image():
    labels = np.ones((5, 14), np.uint8)
    labels[1:4, 1:4] = labels[1:4, 9:12] = 0
    labels[2, 2] = labels[:, 6:8] = 255  # inside a hole, and between two components
    result = cleaned(labels, min_component_sizes=(0, 30), fill_holes=True)
    assert not result[:, :6][labels[:, :6] != 255].any()  # 21 pixels around a hole that is not filled
    assert (result[:, 8:] == 1).all()  # 30 pixels
    np.testing.assert_array_equal(result == 255, labels == 255)


@pytest.mark.parametrize("around", [0, 255])
def test_background_without_a_class_around_it_stays_background(around):
    labels = np.full((5, 5), around, np.uint8)
    labels[2, 2] = 0
    np.testing.assert_array_equal(cleaned(labels, fill_holes=True), labels)


def test_a_hole_takes_the_class_around_it():
    labels = np.zeros((9, 20), np.uint8)
    labels[1:8, 1:8], labels[3:5, 3:5] = 3, 0
    labels[1:8, 10:18], labels[2:4, 12:14], labels[6, 16] = 1, 0, 2
    result = cleaned(labels, fill_holes=True)
    assert (result[3:5, 3:5] == 3).all()
    assert (result[2:4, 12:14] == 1).all()
    assert result[6, 16] == 2


def test_each_class_has_its_own_minimum_component_size():
    labels = np.zeros((4, 12), np.uint8)
    labels[0, :3], labels[2, :3], labels[0, 6:8] = 1, 2, 2
    result = cleaned(labels, min_component_sizes=(0, 4, 3))
    assert (result == 1).sum() == 0
    assert (result == 2).sum() == 3


def test_the_given_labels_are_not_changed():
    labels = np.ones((3, 3), np.uint8)
    labels[1, 1] = 0
    cleaned(labels, min_component_sizes=(0, 100), fill_holes=True)
    assert labels.sum() == 8
