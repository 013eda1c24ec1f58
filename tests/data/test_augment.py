"""Random draws and photometric changes; sampling is tested with `sample_patch`."""

import numpy as np
import pytest

from maskwright.data.augment import (
    CallableAugmentation,
    GeometricAugmentation,
    PhotometricAugmentation,
    WrongAugmentation,
)


def scene(seed, size=(48, 64), labels=(0, 3, 7, 255)):
    """Patches whose grey levels are the labels of their masks."""
    generator = np.random.default_rng(seed)
    blocks = generator.choice(labels, (4, size[0] // 8, size[1] // 8)).astype(np.uint8)
    masks = blocks.repeat(8, axis=1).repeat(8, axis=2)
    return np.repeat((masks / 255).astype(np.float32)[..., None], 3, axis=-1), masks


def test_photometric_augmentation_changes_the_image_and_not_the_mask():
    images, masks = scene(0)
    changed, moved = PhotometricAugmentation(brightness=0.3, contrast=0.3)(images, masks, seed=1)
    np.testing.assert_array_equal(moved, masks)
    assert np.abs(changed - images).mean() > 0.01
    assert changed.min() >= 0
    assert changed.max() <= 1


def test_brightness_shifts_and_contrast_stretches_about_the_mean():
    images = np.random.default_rng(0).uniform(0.4, 0.6, (50, 8, 8, 1)).astype(np.float32)
    masks = np.zeros(images.shape[:3], np.uint8)
    shifted, _ = PhotometricAugmentation(brightness=0.3)(images, masks, seed=1)
    shifts = (shifted - images).reshape(50, -1)
    np.testing.assert_allclose(shifts, shifts[:, :1].repeat(64, axis=1), atol=1e-6)
    assert -0.3 <= shifts.min() < -0.2 < 0.2 < shifts.max() <= 0.3
    stretched, _ = PhotometricAugmentation(contrast=0.3)(images, masks, seed=1)
    np.testing.assert_allclose(stretched.mean(axis=(1, 2, 3)), images.mean(axis=(1, 2, 3)), atol=1e-6)
    ratios = stretched.std(axis=(1, 2, 3)) / images.std(axis=(1, 2, 3))
    assert 0.7 <= ratios.min() < 0.8 < 1.2 < ratios.max() <= 1.301


def test_equal_seeds_give_equal_images_and_other_seeds_do_not():
    images, masks = scene(0)
    first, repeated, other = (
        PhotometricAugmentation(brightness=0.3, contrast=0.3)(images, masks, seed=seed)[0] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, repeated)
    assert (first != other).any()


def test_zero_strength_changes_nothing():
    images, masks = scene(0)
    same = PhotometricAugmentation()(images, masks, seed=0)
    np.testing.assert_array_equal(same[0], images)
    np.testing.assert_array_equal(same[1], masks)


def test_rotations_fill_their_range_and_half_of_the_patches_are_flipped():
    generator = np.random.default_rng(0)
    draws = [GeometricAugmentation("horizontal", rotation=30).draw_orientation(generator) for _ in range(400)]
    angles = np.array([draw["angle"] for draw in draws])
    assert -30 <= angles.min() < -28 < 28 < angles.max() <= 30
    assert 0.4 < np.mean([draw["flip_horizontal"] for draw in draws]) < 0.6
    assert not any(draw["flip_vertical"] for draw in draws)
    assert any(
        GeometricAugmentation("horizontal_and_vertical").draw_orientation(generator)["flip_vertical"] for _ in range(20)
    )


def test_zooms_fill_their_range_in_both_directions():
    generator = np.random.default_rng(0)
    zooms = np.array([GeometricAugmentation(zoom=0.5).draw_zoom(generator) for _ in range(400)])
    assert 1 / 1.5 <= zooms.min() < 0.68
    assert 1.47 < zooms.max() <= 1.5
    assert 0.9 < np.median(zooms) < 1.1
    assert GeometricAugmentation().draw_zoom(generator) == 1.0


def flipped(image, mask):
    return {"image": image[:, ::-1], "mask": mask[:, ::-1]}


def test_any_callable_is_an_augmentation():
    images, masks = scene(0)
    changed, moved = CallableAugmentation(flipped)(images, masks, seed=0)
    np.testing.assert_array_equal(changed, images[:, :, ::-1])
    np.testing.assert_array_equal(moved, masks[:, :, ::-1])


def test_a_callable_with_numpy_randomness_is_reproducible():
    def noisy(image, mask):
        return image + np.random.normal(size=image.shape), mask

    images, masks = scene(0)
    augment = CallableAugmentation(noisy)
    first, repeated, other = (augment(images, masks, seed=seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, repeated)
    assert (first != other).any()
    assert (first[0] - images[0] != first[1] - images[1]).any()  # images are drawn independently


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda image, mask: image, "returned ndarray"),
        (lambda image, mask: (image[:8], mask[:8]), r"returned an image \(8, 64, 3\) and a mask \(8, 64\)"),
        (lambda image, mask: (image, mask // 2), r"returned labels \[.*\] that are not in the given mask"),
    ],
)
def test_an_unusable_result_is_an_error(change, found):
    images, masks = scene(0)
    with pytest.raises(WrongAugmentation, match=found):
        CallableAugmentation(change)(images, masks, seed=0)
