"""Masks move with their images, exactly."""

import numpy as np
import pytest

from maskwright.data.patch_sampling import View, reflected, seen


def scene(seed, size=(48, 64), labels=(0, 3, 7, 255), dtype=np.uint8, channels=3):
    """An image that spells out its mask: each label has a grey of its own."""
    blocks = np.random.default_rng(seed).choice(labels, (size[0] // 8, size[1] // 8)).astype(np.uint8)
    mask = blocks.repeat(8, axis=0).repeat(8, axis=1)
    return np.repeat(mask[..., None], channels, axis=-1).astype(dtype), mask


VIEWS = [
    View(0, 0, 48, 64, angle=30.0),
    View(5.3, 7.9, 20.2, 31.7),
    View(-9, -20, 60, 90, angle=-12.0, mirrored=True),
    View(3, 4, 40, 20, upside_down=True, angle=170.0),
]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(("dtype", "channels"), [(np.uint8, 3), (np.uint8, 1), (np.uint16, 2), (np.float32, 4)])
def test_image_and_mask_move_together(view, dtype, channels):
    image, mask = scene(1, dtype=dtype, channels=channels)
    patch, labels = seen(image, mask, view, (64, 96))
    assert (patch.shape, patch.dtype) == ((64, 96, channels), dtype)
    assert (labels.shape, labels.dtype) == ((64, 96), np.uint8)
    assert set(np.unique(labels)) <= set(np.unique(mask))
    # The image blurs at edges; everywhere else the grey still spells the label.
    inside = np.ones_like(labels, bool)
    for axis in (0, 1):
        for step in (-4, -3, -2, -1, 1, 2, 3, 4):
            inside &= np.roll(labels, step, axis) == labels
    assert inside.mean() > 0.05
    assert (np.abs(patch[..., 0].astype(float) - labels)[inside] <= 1).mean() > 0.99


@pytest.mark.parametrize("size", [(48, 48), (33, 48)])
@pytest.mark.parametrize("angle", [0.0, 90.0, 180.0, -90.0])
def test_quarter_turns_are_those_of_numpy(angle, size):
    mask = np.random.default_rng(0).integers(0, 9, size).astype(np.uint8)
    turned = np.rot90(mask, round(angle / 90))
    height, width = turned.shape
    view = View((size[0] - height) / 2, (size[1] - width) / 2, height, width, angle=angle)
    np.testing.assert_array_equal(seen(mask[..., None], mask, view, (height, width))[1], turned)


@pytest.mark.parametrize("angle", [10.0, -33.0, 45.0, 90.0])
@pytest.mark.parametrize("size", [(64, 64), (32, 416), (160, 64)])
def test_nothing_is_invented_in_the_corners_of_what_is_turned(size, angle):
    generator = np.random.default_rng(0)
    mask = generator.choice([3, 7], (60, 90)).astype(np.uint8)
    image = np.full((60, 90, 3), 200, np.uint8)
    patch, labels = seen(image, mask, View(10, 20, 30, 50, angle=angle), size)
    assert set(np.unique(labels)) == {3, 7}
    assert patch.min() == 200


def test_a_turn_is_a_turn_of_the_image_whatever_becomes_of_its_sides():
    rows, columns = np.mgrid[:120, :120]
    mask = (np.hypot(rows - 60, columns - 60) < 30).astype(np.uint8)  # a disc stays one, however it is turned
    square = seen(mask[..., None], mask, View(20, 20, 80, 80), (160, 40))[1]
    turned = seen(mask[..., None], mask, View(20, 20, 80, 80, angle=37), (160, 40))[1]
    assert (square == turned).mean() > 0.98


def test_a_window_of_whole_pixels_is_what_is_there():
    image = np.random.default_rng(0).integers(0, 255, (30, 40, 3)).astype(np.uint8)
    patch, _ = seen(image, image[..., 0], View(4, 7, 16, 24), (16, 24))
    np.testing.assert_array_equal(patch, image[4:20, 7:31])
    patch, labels = seen(image, image[..., 0], View(4, 7, 16, 24, mirrored=True, upside_down=True), (16, 24))
    np.testing.assert_array_equal(patch, image[4:20, 7:31][::-1, ::-1])
    np.testing.assert_array_equal(labels, patch[..., 0])


def test_half_the_size_is_the_mean_of_four():
    image = np.random.default_rng(0).uniform(0, 1, (8, 12, 2)).astype(np.float32)
    patch, _ = seen(
        image.repeat(8, axis=0).repeat(8, axis=1), np.zeros((64, 96), np.uint8), View(0, 0, 64, 96), (8, 12)
    )
    # A triangle two pixels wide: three quarters of its weight on the pixel, the rest on its neighbours.
    assert np.corrcoef(patch.ravel(), image.ravel())[0, 1] > 0.9
    assert patch.mean() == pytest.approx(image.mean(), abs=0.02)


def test_what_lies_beyond_a_border_is_reflected_in_both():
    mask = np.random.default_rng(0).integers(0, 9, (10, 12)).astype(np.uint8)
    patch, labels = seen(mask[..., None], mask, View(-4, -3, 30, 40), (30, 40))
    np.testing.assert_array_equal(patch[..., 0], labels)
    np.testing.assert_array_equal(labels, np.pad(mask, ((4, 16), (3, 25)), mode="reflect"))


@pytest.mark.parametrize("length", [1, 2, 5])
def test_reflection_is_that_of_numpy(length):
    np.testing.assert_array_equal(
        reflected(np.arange(-7, length + 9), length), np.pad(np.arange(length), (7, 9), mode="reflect")
    )
