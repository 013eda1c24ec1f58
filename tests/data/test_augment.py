"""What is drawn, and what becomes of the light; where pixels go is tested with `seen`."""

import numpy as np
import pytest

from maskwright.data.augment import CallableAugmentation, Geometry, Light, WrongAugmentation


def scene(seed, size=(48, 64), labels=(0, 3, 7, 255)):
    """Patches whose image spells out the mask: each label has a grey of its own."""
    generator = np.random.default_rng(seed)
    blocks = generator.choice(labels, (4, size[0] // 8, size[1] // 8)).astype(np.uint8)
    masks = blocks.repeat(8, axis=1).repeat(8, axis=2)
    return np.repeat((masks / 255).astype(np.float32)[..., None], 3, axis=-1), masks


def test_light_changes_the_image_and_not_the_mask():
    images, masks = scene(0)
    changed, moved = Light(brightness=0.3, contrast=0.3)(images, masks, seed=1)
    np.testing.assert_array_equal(moved, masks)
    assert np.abs(changed - images).mean() > 0.01
    assert changed.min() >= 0
    assert changed.max() <= 1


def test_brightness_shifts_and_contrast_stretches_about_the_mean():
    images = np.random.default_rng(0).uniform(0.4, 0.6, (50, 8, 8, 1)).astype(np.float32)
    masks = np.zeros(images.shape[:3], np.uint8)
    shifted, _ = Light(brightness=0.3)(images, masks, seed=1)
    shifts = (shifted - images).reshape(50, -1)
    np.testing.assert_allclose(shifts, shifts[:, :1].repeat(64, axis=1), atol=1e-6)
    assert -0.3 <= shifts.min() < -0.2 < 0.2 < shifts.max() <= 0.3
    stretched, _ = Light(contrast=0.3)(images, masks, seed=1)
    np.testing.assert_allclose(stretched.mean(axis=(1, 2, 3)), images.mean(axis=(1, 2, 3)), atol=1e-6)
    ratios = stretched.std(axis=(1, 2, 3)) / images.std(axis=(1, 2, 3))
    assert 0.7 <= ratios.min() < 0.8 < 1.2 < ratios.max() <= 1.301


def test_equal_seeds_give_equal_light_and_others_do_not():
    images, masks = scene(0)
    first, again, other = (Light(brightness=0.3, contrast=0.3)(images, masks, seed=seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_without_changes_nothing_changes():
    images, masks = scene(0)
    same = Light()(images, masks, seed=0)
    np.testing.assert_array_equal(same[0], images)
    np.testing.assert_array_equal(same[1], masks)


def test_turns_are_drawn_as_far_as_they_may_go_and_mirrors_half_of_the_time():
    generator = np.random.default_rng(0)
    turns = [Geometry("horizontal", rotation=30).draw_turn(generator) for _ in range(400)]
    angles = np.array([turn["angle"] for turn in turns])
    assert -30 <= angles.min() < -28 < 28 < angles.max() <= 30
    assert 0.4 < np.mean([turn["mirrored"] for turn in turns]) < 0.6
    assert not any(turn["upside_down"] for turn in turns)
    assert any(Geometry("horizontal_and_vertical").draw_turn(generator)["upside_down"] for _ in range(20))


def test_zooms_are_drawn_as_far_as_they_may_go_either_way():
    generator = np.random.default_rng(0)
    zooms = np.array([Geometry(zoom=0.5).draw_zoom(generator) for _ in range(400)])
    assert 1 / 1.5 <= zooms.min() < 0.68
    assert 1.47 < zooms.max() <= 1.5
    assert 0.9 < np.median(zooms) < 1.1
    assert Geometry().draw_zoom(generator) == 1.0


def flipped(image, mask):
    return {"image": image[:, ::-1], "mask": mask[:, ::-1]}


def test_any_callable_is_an_augmentation():
    images, masks = scene(0)
    changed, moved = CallableAugmentation(flipped)(images, masks, seed=0)
    np.testing.assert_array_equal(changed, images[:, :, ::-1])
    np.testing.assert_array_equal(moved, masks[:, :, ::-1])


def test_a_callable_that_draws_from_numpy_repeats_itself():
    def noisy(image, mask):
        return image + np.random.normal(size=image.shape), mask

    images, masks = scene(0)
    augment = CallableAugmentation(noisy)
    first, again, other = (augment(images, masks, seed=seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert (first[0] - images[0] != first[1] - images[1]).any()  # each image has its own draw


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda image, mask: image, "returned ndarray"),
        (lambda image, mask: (image[:8], mask[:8]), r"returned an image \(8, 64, 3\) and a mask \(8, 64\)"),
        (lambda image, mask: (image, mask // 2), r"returned labels \[.*\] that the mask did not hold"),
    ],
)
def test_an_answer_that_cannot_be_used_is_refused(change, found):
    images, masks = scene(0)
    with pytest.raises(WrongAugmentation, match=found):
        CallableAugmentation(change)(images, masks, seed=0)
