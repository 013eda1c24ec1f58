"""Looks survive what leaves a picture the same to the eye, and every pair of near looks is found."""

import numpy as np
import pytest
from PIL import Image

from maskwright.data.near_duplicates import NEAR, look_of, near_pairs


def scene(seed, size=(192, 216)):
    """Smooth blobs: coarse noise enlarged by another library, (h, w, 3) uint8."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 11, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC))


def bits(one, other):
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()


def noisy(image):
    noise = np.random.default_rng(5).normal(0, 4, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def as_jpeg(image, folder):
    Image.fromarray(image).save(folder / "a.jpg", quality=70)
    return np.asarray(Image.open(folder / "a.jpg"))


@pytest.mark.parametrize("seed", range(5))
def test_a_picture_changed_a_little_looks_the_same(seed, tmp_path):
    image = scene(seed)
    look = look_of(image)
    halved = np.asarray(Image.fromarray(image).resize((108, 96), Image.Resampling.BOX))
    changed = [noisy(image), as_jpeg(image, tmp_path), halved, image // 2 + 20, image.astype(np.uint16) * 257]
    assert len(look) == 8
    assert max(bits(look, look_of(other)) for other in changed) <= NEAR


def test_other_pictures_look_different():
    looks = [look_of(scene(seed)) for seed in range(40)]
    nearest = min(bits(one, other) for place, one in enumerate(looks) for other in looks[:place])
    assert nearest > 2 * NEAR


def test_the_bits_are_those_of_the_cells_means():
    means = np.random.default_rng(0).permutation(72).reshape(8, 9)
    image = np.kron(means, np.ones((3, 5), int)).astype(np.uint8)[..., None]
    expected = np.packbits(np.array([[row[x] < row[x + 1] for x in range(8)] for row in means.tolist()]))
    assert look_of(image) == expected.tobytes()


@pytest.mark.parametrize(
    "image",
    [
        np.full((40, 50, 3), (10, 20, 71), np.uint8),
        np.tile(np.arange(100, dtype=np.uint8), (40, 1))[..., None],
        np.pad(np.ones((9, 9, 1), np.float32), ((30, 60), (30, 60), (0, 0))),
        np.zeros((7, 100, 1), np.uint8),
    ],
    ids=["plain", "brighter all the way", "one spot", "lower than eight pixels"],
)
def test_what_shows_too_little_has_no_look(image):
    assert look_of(image) is None


def test_every_pair_within_three_bits_is_found_and_no_other():
    generator = np.random.default_rng(1)
    looks = generator.integers(0, 256, (300, 8), np.uint8)
    for place in range(20, 300):  # neighbours of the first twenty, 1 to 5 bits away, in all parts
        flipped = np.unpackbits(looks[place % 20])
        flipped[generator.choice(64, place % 5 + 1, replace=False)] ^= 1
        looks[place] = np.packbits(flipped)
    expected = {
        (one, other)
        for other in range(300)
        for one in range(other)
        if bits(looks[one].tobytes(), looks[other].tobytes()) <= 3
    }
    assert len(expected) > 150
    assert {tuple(sorted(pair)) for pair in near_pairs(looks)} == expected
