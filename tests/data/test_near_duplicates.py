"""Perceptual hashes are robust to small changes, and every near-duplicate pair is found."""

from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from maskwright.data.near_duplicates import MAX_HAMMING_DISTANCE, near_duplicate_pairs, perceptual_hash


def scene(seed, size=(192, 216)):
    """Smooth blobs: coarse noise enlarged by another library, (h, w, 3) uint8."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 11, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC))


def hamming_distance(first, second):
    return (int.from_bytes(first, "big") ^ int.from_bytes(second, "big")).bit_count()


def noisy(image):
    noise = np.random.default_rng(5).normal(0, 4, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def as_jpeg(image, folder):
    Image.fromarray(image).save(folder / "a.jpg", quality=70)
    return np.asarray(Image.open(folder / "a.jpg"))


@pytest.mark.parametrize("seed", range(5))
def test_a_slightly_changed_image_keeps_its_hash(seed, tmp_path):
    image = scene(seed)
    original = perceptual_hash(image)
    halved = np.asarray(Image.fromarray(image).resize((108, 96), Image.Resampling.BOX))
    changed = [noisy(image), as_jpeg(image, tmp_path), halved, image // 2 + 20, image.astype(np.uint16) * 257]
    assert len(original) == 8
    assert max(hamming_distance(original, perceptual_hash(other)) for other in changed) <= MAX_HAMMING_DISTANCE


def test_different_images_have_distant_hashes():
    hashes = [perceptual_hash(scene(seed)) for seed in range(40)]
    nearest = min(hamming_distance(*pair) for pair in combinations(hashes, 2))
    assert nearest > 2 * MAX_HAMMING_DISTANCE


def test_the_bits_compare_the_means_of_neighbouring_cells():
    means = np.random.default_rng(0).permutation(72).reshape(8, 9)
    image = np.kron(means, np.ones((3, 5), int)).astype(np.uint8)[..., None]
    expected = np.packbits(np.array([[row[x] < row[x + 1] for x in range(8)] for row in means.tolist()]))
    assert perceptual_hash(image) == expected.tobytes()


@pytest.mark.parametrize(
    "image",
    [
        np.full((40, 50, 3), (10, 20, 71), np.uint8),
        np.tile(np.arange(100, dtype=np.uint8), (40, 1))[..., None],
        np.pad(np.ones((9, 9, 1), np.float32), ((30, 60), (30, 60), (0, 0))),
        np.zeros((7, 100, 1), np.uint8),
    ],
    ids=["uniform", "gradient", "one spot", "lower than eight pixels"],
)
def test_an_image_with_too_little_structure_has_no_hash(image):
    assert perceptual_hash(image) is None


def test_exactly_the_pairs_within_three_bits_are_found():
    generator = np.random.default_rng(1)
    hashes = generator.integers(0, 256, (300, 8), np.uint8)
    for index in range(20, 300):  # 1 to 5 bits from one of the first twenty, in all parts
        flipped = np.unpackbits(hashes[index % 20])
        flipped[generator.choice(64, index % 5 + 1, replace=False)] ^= 1
        hashes[index] = np.packbits(flipped)
    expected = {
        (first, second)
        for first, second in combinations(range(300), 2)
        if hamming_distance(hashes[first].tobytes(), hashes[second].tobytes()) <= 3
    }
    assert len(expected) > 150
    assert {tuple(sorted(pair)) for pair in near_duplicate_pairs(hashes)} == expected
