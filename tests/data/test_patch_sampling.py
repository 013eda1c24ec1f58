"""Masks are sampled exactly as their images."""

import numpy as np
import pytest

from maskwright.data.patch_sampling import PatchWindow, reflected, sample_patch


def scene(seed, size=(48, 64), labels=(0, 3, 7, 255), dtype=np.uint8, channels=3):
    """An image whose grey levels are the labels of its mask."""
    blocks = np.random.default_rng(seed).choice(labels, (size[0] // 8, size[1] // 8)).astype(np.uint8)
    mask = blocks.repeat(8, axis=0).repeat(8, axis=1)
    return np.repeat(mask[..., None], channels, axis=-1).astype(dtype), mask


WINDOWS = [
    PatchWindow(0, 0, 48, 64, angle=30.0),
    PatchWindow(5.3, 7.9, 20.2, 31.7),
    PatchWindow(-9, -20, 60, 90, angle=-12.0, flip_horizontal=True),
    PatchWindow(3, 4, 40, 20, flip_vertical=True, angle=170.0),
]


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(("dtype", "channels"), [(np.uint8, 3), (np.uint8, 1), (np.uint16, 2), (np.float32, 4)])
def test_image_and_mask_are_sampled_at_the_same_points(window, dtype, channels):
    image, mask = scene(1, dtype=dtype, channels=channels)
    patch, labels = sample_patch(image, mask, window, (64, 96))
    assert (patch.shape, patch.dtype) == ((64, 96, channels), dtype)
    assert (labels.shape, labels.dtype) == ((64, 96), np.uint8)
    assert set(np.unique(labels)) <= set(np.unique(mask))
    # Interpolation blurs edges; elsewhere grey levels equal labels.
    inside = np.ones_like(labels, bool)
    for axis in (0, 1):
        for step in (-4, -3, -2, -1, 1, 2, 3, 4):
            inside &= np.roll(labels, step, axis) == labels
    assert inside.mean() > 0.05
    assert (np.abs(patch[..., 0].astype(float) - labels)[inside] <= 1).mean() > 0.99


@pytest.mark.parametrize("size", [(48, 48), (33, 48)])
@pytest.mark.parametrize("angle", [0.0, 90.0, 180.0, -90.0])
def test_quarter_turns_match_numpy(angle, size):
    mask = np.random.default_rng(0).integers(0, 9, size).astype(np.uint8)
    turned = np.rot90(mask, round(angle / 90))
    height, width = turned.shape
    window = PatchWindow((size[0] - height) / 2, (size[1] - width) / 2, height, width, angle=angle)
    np.testing.assert_array_equal(sample_patch(mask[..., None], mask, window, (height, width))[1], turned)


@pytest.mark.parametrize("angle", [10.0, -33.0, 45.0, 90.0])
@pytest.mark.parametrize("size", [(64, 64), (32, 416), (160, 64)])
def test_corners_of_a_rotated_window_are_filled_from_the_image(size, angle):
    generator = np.random.default_rng(0)
    mask = generator.choice([3, 7], (60, 90)).astype(np.uint8)
    image = np.full((60, 90, 3), 200, np.uint8)
    patch, labels = sample_patch(image, mask, PatchWindow(10, 20, 30, 50, angle=angle), size)
    assert set(np.unique(labels)) == {3, 7}
    assert patch.min() == 200


def test_a_rotation_does_not_shear_under_unequal_scales():
    rows, columns = np.mgrid[:120, :120]
    mask = (np.hypot(rows - 60, columns - 60) < 30).astype(np.uint8)  # rotating a disc does not change it
    square = sample_patch(mask[..., None], mask, PatchWindow(20, 20, 80, 80), (160, 40))[1]
    turned = sample_patch(mask[..., None], mask, PatchWindow(20, 20, 80, 80, angle=37), (160, 40))[1]
    assert (square == turned).mean() > 0.98


def test_a_window_of_whole_pixels_is_copied():
    image = np.random.default_rng(0).integers(0, 255, (30, 40, 3)).astype(np.uint8)
    patch, _ = sample_patch(image, image[..., 0], PatchWindow(4, 7, 16, 24), (16, 24))
    np.testing.assert_array_equal(patch, image[4:20, 7:31])
    patch, labels = sample_patch(
        image, image[..., 0], PatchWindow(4, 7, 16, 24, flip_horizontal=True, flip_vertical=True), (16, 24)
    )
    np.testing.assert_array_equal(patch, image[4:20, 7:31][::-1, ::-1])
    np.testing.assert_array_equal(labels, patch[..., 0])


def test_shrinking_averages_pixels():
    image = np.random.default_rng(0).uniform(0, 1, (8, 12, 2)).astype(np.float32)
    patch, _ = sample_patch(
        image.repeat(8, axis=0).repeat(8, axis=1), np.zeros((64, 96), np.uint8), PatchWindow(0, 0, 64, 96), (8, 12)
    )
    # The triangle filter is two pixels wide: 3/4 of the weight on the pixel, the rest on its neighbours.
    assert np.corrcoef(patch.ravel(), image.ravel())[0, 1] > 0.9
    assert patch.mean() == pytest.approx(image.mean(), abs=0.02)


def test_image_and_mask_are_reflected_beyond_their_borders():
    mask = np.random.default_rng(0).integers(0, 9, (10, 12)).astype(np.uint8)
    patch, labels = sample_patch(mask[..., None], mask, PatchWindow(-4, -3, 30, 40), (30, 40))
    np.testing.assert_array_equal(patch[..., 0], labels)
    np.testing.assert_array_equal(labels, np.pad(mask, ((4, 16), (3, 25)), mode="reflect"))


@pytest.mark.parametrize("length", [1, 2, 5])
def test_reflection_matches_numpy(length):
    np.testing.assert_array_equal(
        reflected(np.arange(-7, length + 9), length), np.pad(np.arange(length), (7, 9), mode="reflect")
    )
