"""Display images, overlays and panels, checked pixel by pixel on small images."""

import numpy as np
import pytest

from maskwright.errors import WrongArgument
from maskwright.images.labels import IGNORED, Label
from maskwright.images.normalise import Normalisation
from maskwright.images.overlay import HATCH, overlay, to_display
from maskwright.images.panel import CONFUSED, FALSE_NEGATIVE, FALSE_POSITIVE, panel
from tests.images.painted import noise

LABELS = [
    Label(name="background", value=0, colour=(1, 1, 1), background=True),
    Label(name="cell", value=7, colour=(200, 100, 0)),
    Label(name="nucleus", value=9, colour=(0, 0, 250)),
]


def test_8_bit_images_are_displayed_unchanged():
    colour, gray = noise(3, 4, 3), noise(3, 4, 1)
    np.testing.assert_array_equal(to_display(colour), colour)
    np.testing.assert_array_equal(to_display(gray), gray.repeat(3, axis=2))


def test_at_most_the_first_three_channels_are_displayed():
    for channels in (4, 9):
        image = noise(3, 4, channels)
        np.testing.assert_array_equal(to_display(image), image[..., :3])
    image = noise(3, 4, 2)
    np.testing.assert_array_equal(to_display(image), image[..., :1].repeat(3, axis=2))


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_low_contrast_images_are_stretched(dtype):
    ramp = np.linspace(300, 500, 1000).astype(dtype).reshape(10, 100, 1)
    shown = to_display(ramp)
    assert (shown.min(), shown.max()) == (0, 255)
    assert abs(int(shown[5, 0, 0]) - 128) <= 2


def test_a_constant_image_can_be_displayed():
    assert to_display(np.full((2, 2, 1), 0.3, np.float32)).tolist() == [[[0, 0, 0]] * 2] * 2


def test_images_of_one_set_are_stretched_alike():
    normalisation = Normalisation(low=0, high=10, mean=(0.5,), std=(0.1,))  # shown from 2 to 8
    image = np.array([[[1], [2], [3.5], [8], [9]]], np.float32)
    np.testing.assert_array_equal(to_display(image, normalisation)[0, :, 0], [0, 0, 64, 255, 255])


def test_a_class_is_tinted_and_the_background_is_not():
    image = np.full((1, 2, 3), 100, np.uint8)
    drawn = overlay(image, np.array([[0, 1]]), labels=LABELS, alpha=0.25, outline=False)
    np.testing.assert_array_equal(drawn, [[[100, 100, 100], [125, 100, 75]]])
    assert (image == 100).all()


def test_the_border_of_two_classes_is_one_pixel_wide():
    indices = np.array([[0, 0, 1, 1, 1, 2, 2, 2]] * 3)
    drawn = overlay(np.zeros((3, 8, 3), np.uint8), indices, labels=LABELS, alpha=0.5)
    cell, tinted_cell, nucleus, tinted_nucleus = (200, 100, 0), (100, 50, 0), (0, 0, 250), (0, 0, 125)
    expected = [(0, 0, 0)] * 2 + [cell, tinted_cell, tinted_cell, nucleus, tinted_nucleus, tinted_nucleus]
    np.testing.assert_array_equal(drawn[1], expected)


def test_a_hole_of_one_pixel_is_not_drawn():
    indices = np.ones((3, 3), int)
    indices[1, 1] = 0
    drawn = overlay(np.full((3, 3, 3), 100, np.uint8), indices, labels=LABELS)
    np.testing.assert_array_equal(drawn[1, 1], (100, 100, 100))
    np.testing.assert_array_equal(drawn[0, 1], LABELS[1].colour)


def test_ignored_pixels_are_hatched_and_have_no_outline():
    drawn = overlay(np.zeros((8, 8, 3), np.uint8), np.full((8, 8), IGNORED), labels=LABELS)
    assert np.unique(drawn).tolist() == [0, 150]
    assert (drawn == 150).all(axis=2).mean() == 0.25  # 2 of every 8 diagonals
    np.testing.assert_array_equal(drawn[0, :2], np.full((2, 3), 150))


def test_wrong_shapes_and_indices_are_an_error():
    image = np.zeros((2, 3, 3), np.uint8)
    with pytest.raises(WrongArgument, match=r"indices='array of shape \(3, 2\)': expected shape \(2, 3\)"):
        overlay(image, np.zeros((3, 2), int), labels=LABELS)
    with pytest.raises(WrongArgument, match="indices='3, 7': expected 0 to 2, or 255 for ignored pixels"):
        overlay(image, np.array([[0, 3, 7], [0, 0, 255]]), labels=LABELS)
    with pytest.raises(WrongArgument, match="prediction="):
        panel(image, np.zeros((2, 3), int), prediction=np.zeros((3, 2), int), labels=LABELS)
    with pytest.raises(WrongArgument, match="truth="):
        panel(image, np.zeros((3, 2), int), prediction=np.zeros((2, 3), int), labels=LABELS)


def count(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((np.abs(picture.astype(int) - colour).max(axis=2) < 25).sum())


def test_each_kind_of_error_has_its_colour():
    truth = (
        np.array([[0, 0, 1, 1, 1, 1, IGNORED, 0]], np.uint8).repeat(300, axis=0).repeat(50, axis=1)
    )  # 50 columns each
    prediction = np.array([[0, 1, 0, 2, 2, 1, 1, 0]], np.uint8).repeat(300, axis=0).repeat(50, axis=1)
    picture = panel(np.full((300, 400, 3), 90, np.uint8), truth, prediction=prediction, labels=LABELS)
    mistakes = picture[22:322, -410:-10]
    tiles = 15_000  # 50 columns of 300 pixels
    assert count(mistakes, FALSE_POSITIVE) == tiles
    assert count(mistakes, FALSE_NEGATIVE) == tiles
    assert count(mistakes, CONFUSED) == 2 * tiles
    legend = picture[322:]
    for colour in (FALSE_POSITIVE, FALSE_NEGATIVE, CONFUSED, HATCH, LABELS[1].colour):
        assert (legend == colour).all(axis=2).sum() >= 100  # a swatch; edges of letters have a few such pixels at most


def test_the_four_tiles_are_side_by_side():
    image = noise(320, 310, 3)
    truth = (image[..., 0] > 128).astype(np.uint8)
    picture = panel(image, truth, prediction=truth, labels=LABELS)
    np.testing.assert_array_equal(picture[22:342, 10:320], image)
    np.testing.assert_array_equal(picture[22:342, 330:640], overlay(image, truth, labels=LABELS))
    np.testing.assert_array_equal(picture[22:342, 650:960], picture[22:342, 330:640])


@pytest.mark.parametrize(("size", "tile"), [((30, 45), (210, 315)), ((1200, 900), (600, 450)), ((1, 1), (300, 300))])
def test_small_images_are_enlarged_and_large_ones_reduced(size, tile):
    zeros = np.zeros(size, np.uint8)
    picture = panel(np.zeros((*size, 3), np.uint8), zeros, prediction=zeros, labels=LABELS)
    assert picture.shape == (22 + tile[0] + 10, 4 * (tile[1] + 10) + 10, 3)


def test_the_legend_wraps_and_lists_only_present_classes():
    labels = [Label(name=f"a class of long name {i}", value=i, colour=(i, 200, 0)) for i in range(40)]
    shape = 300, 40
    some, all_of_them = np.zeros(shape, np.uint8), np.arange(12_000).reshape(shape) % 40
    image = np.zeros((*shape, 3), np.uint8)
    short = panel(image, some, prediction=some, labels=labels)
    long = panel(image, all_of_them, prediction=all_of_them, labels=labels)
    assert long.shape[0] > short.shape[0] + 200
    assert long.shape[1] == short.shape[1] >= 400
