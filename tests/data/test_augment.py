"""Masks move with their images, exactly: Keras' own layers interpolated labels until early 2026."""

import numpy as np
import pytest

from maskwright.data.augment import CallableAugmentation, KerasAugmentation, WrongAugmentation, layers_for

STRONG = {"flip": "horizontal_and_vertical", "zoom": 0.4, "rotation": 45.0}
LIGHT = {"brightness": 0.3, "contrast": 0.3}


def scene(seed, size=(48, 64), labels=(0, 3, 7, 255)):
    """Patches whose image spells out the mask: each label has a grey of its own."""
    generator = np.random.default_rng(seed)
    blocks = generator.choice(labels, (4, size[0] // 8, size[1] // 8)).astype(np.uint8)
    masks = blocks.repeat(8, axis=1).repeat(8, axis=2)
    return np.repeat((masks / 255).astype(np.float32)[..., None], 3, axis=-1), masks


@pytest.mark.parametrize("seed", range(6))
def test_no_label_comes_out_that_did_not_go_in(seed):
    images, masks = scene(seed)
    _, moved = KerasAugmentation(layers_for(**STRONG, **LIGHT))(images, masks, seed=seed)
    assert moved.dtype == np.uint8
    assert moved.shape == masks.shape
    assert set(np.unique(moved)) <= set(np.unique(masks))


@pytest.mark.parametrize("seed", range(6))
def test_image_and_mask_move_together(seed):
    images, masks = scene(seed)
    changed, moved = KerasAugmentation(layers_for(**STRONG))(images, masks, seed=seed)
    assert (moved != masks).mean() > 0.1  # something did move
    # Bilinear images blur within a pixel of an edge; everywhere else the grey still spells the label.
    spelled = np.abs(changed[..., 0] - moved / 255) < 0.01
    inside = np.ones_like(moved, bool)
    for axis in (1, 2):
        for step in (-2, -1, 1, 2):
            inside &= np.roll(moved, step, axis) == moved
    assert inside.mean() > 0.3
    assert spelled[inside].mean() > 0.98


def test_light_changes_the_image_and_not_the_mask():
    images, masks = scene(0)
    changed, moved = KerasAugmentation(layers_for(**LIGHT))(images, masks, seed=1)
    np.testing.assert_array_equal(moved, masks)
    assert np.abs(changed - images).mean() > 0.01
    assert changed.min() >= 0
    assert changed.max() <= 1


def test_equal_seeds_give_equal_changes_and_others_do_not():
    images, masks = scene(0)
    augment = KerasAugmentation(layers_for(**STRONG, **LIGHT))
    first, again, other = (augment(images, masks, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[1] != other[1]).any()


def test_rotation_is_in_degrees():
    (layer,) = layers_for(rotation=90.0)
    assert layer.factor == (-0.25, 0.25)  # of a whole turn, as Keras counts


def test_without_layers_nothing_changes():
    images, masks = scene(0)
    same = KerasAugmentation(layers_for())(images, masks, seed=0)
    np.testing.assert_array_equal(same[0], images)
    np.testing.assert_array_equal(same[1], masks)


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
