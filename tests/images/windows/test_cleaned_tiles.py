"""Cleaning a mask tile by tile gives the same pixels as cleaning the whole mask, which has tests of its own."""

import tracemalloc
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.sparse import csgraph  # noqa: F401, imported before memory is measured

from maskwright.images.components import cleaned
from maskwright.images.labels import IGNORED
from maskwright.images.windows.cleaned_tiles import cleaned_tiles


def cleaned_by_tiles(labels, tile, **options):
    """The mask assembled from cleaned tiles, and the number of passes over the tiles."""
    corners = list(product(range(0, labels.shape[0], tile), range(0, labels.shape[1], tile)))
    passes = []

    def tiles():
        passes.append(1)
        return (labels[top : top + tile, left : left + tile] for top, left in corners)

    result = np.empty_like(labels)
    found = cleaned_tiles(tiles, size=labels.shape, tile=tile, **options)
    for (top, left), pixels in zip(corners, found, strict=True):
        result[top : top + tile, left : left + tile] = pixels
    return result, len(passes)


@st.composite
def masks(draw):
    """Random labels of up to three classes, of coarse or fine structure, partly with ignored pixels."""
    height, width = draw(st.tuples(st.integers(1, 30), st.integers(1, 30)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    field = ndimage.gaussian_filter(rng.normal(size=(height, width)), draw(st.sampled_from([0, 0.5, 1, 2])))
    cuts = np.quantile(field, sorted(draw(st.lists(st.floats(0, 1), min_size=1, max_size=3))))
    labels = np.digitize(field, cuts).astype(np.uint8)
    labels[rng.random(labels.shape) < draw(st.sampled_from([0, 0, 0.02, 0.2]))] = IGNORED
    return labels


@settings(max_examples=100, deadline=None)
@given(
    labels=masks(),
    tile=st.integers(2, 20),
    sizes=st.one_of(st.just(()), st.lists(st.integers(0, 60), min_size=4, max_size=4)),
    fill_holes=st.booleans(),
)
def test_tiles_of_any_side_give_the_mask_of_the_whole_image(labels, tile, sizes, fill_holes):
    options = {"min_component_sizes": sizes, "fill_holes": fill_holes}
    result, passes = cleaned_by_tiles(labels, tile, **options)
    np.testing.assert_array_equal(result, cleaned(labels, **options))
    assert passes == 1 + fill_holes + any(size > 1 for size in sizes[1:])


def spiral(arms):
    """A line one pixel wide that winds outwards, with one pixel between its arms."""
    labels = np.zeros((2 * arms + 3, 2 * arms + 3), np.uint8)
    row = column = arms + 1
    step = 0, 1
    labels[row, column] = 1
    for turn in range(2 * arms - 2):
        for _ in range(turn // 2 * 2 + 2):
            row, column = row + step[0], column + step[1]
            labels[row, column] = 1
        step = step[1], -step[0]
    return labels


@pytest.mark.parametrize("tile", [5, 16])
def test_a_component_that_crosses_a_border_many_times_is_one_component(tile):
    labels = spiral(20)
    size = int(labels.sum())
    for min_size, kept in ((size, labels), (size + 1, 0 * labels)):
        result, _ = cleaned_by_tiles(labels, tile, min_component_sizes=(0, min_size), fill_holes=True)
        np.testing.assert_array_equal(result, kept)


def test_a_hole_that_crosses_a_border_many_times_is_filled():
    labels = spiral(20)
    labels[0] = labels[-1] = labels[:, 0] = labels[:, -1] = 1
    assert cleaned_by_tiles(labels, 8, fill_holes=True)[0].all()


@pytest.mark.parametrize("mirrored", [False, True])
def test_pixels_that_touch_at_the_corner_of_four_tiles_are_one_component(mirrored):
    labels = np.zeros((8, 8), np.uint8)
    labels[3, 3] = labels[4, 4] = 1
    labels = labels[:, ::-1] if mirrored else labels
    np.testing.assert_array_equal(cleaned_by_tiles(labels, 4, min_component_sizes=(0, 2))[0], labels)
    assert not cleaned_by_tiles(labels, 4, min_component_sizes=(0, 3))[0].any()


@pytest.mark.parametrize("other", [2, IGNORED])
def test_a_hole_with_one_other_pixel_around_it_in_another_tile_is_not_filled(other):
    labels = np.zeros((9, 9), np.uint8)
    labels[1:8, 1:8] = 1
    labels[2:7, 2:7] = 0
    assert (cleaned_by_tiles(labels, 4, fill_holes=True)[0][2:7, 2:7] == 1).all()
    labels[7, 5] = other
    np.testing.assert_array_equal(cleaned_by_tiles(labels, 4, fill_holes=True)[0], labels)


def test_the_mask_is_never_in_memory_as_a_whole():
    rng = np.random.default_rng(0)
    pattern = (ndimage.gaussian_filter(rng.normal(size=(1024, 1024)), 6, mode="wrap") > 0.01).astype(np.uint8)
    side, tile = 4096, 256

    def tiles():
        for top, left in product(range(0, side, tile), repeat=2):
            yield pattern[top % 1024 :, left % 1024 :][:tile, :tile]

    tracemalloc.start()
    kept = sum(
        int(pixels.sum())
        for pixels in cleaned_tiles(tiles, size=(side, side), tile=tile, min_component_sizes=(0, 80), fill_holes=True)
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0 < kept < side * side
    assert peak < side * side / 4
