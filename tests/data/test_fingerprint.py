"""Fingerprints match values computed by hand from a few painted masks."""

import numpy as np
import pytest

from maskwright.data.fingerprint import fingerprint
from maskwright.data.mask_values import MaskValues
from maskwright.data.pairs import Pair
from maskwright.data.scan import scan
from maskwright.images.normalise import Normalisation
from tests.data.painted import paint

TABLE = MaskValues(classes_by_value={0: "background", 1: "cell", 2: "wall", 9: "ignored"})
NORMALISATION = Normalisation(mean=(0.2, 0.4), std=(0.1, 0.3))


def of_masks(folder, masks, *, table=TABLE):
    pairs = [
        Pair(str(number), paint(folder / f"{number}.png", np.zeros_like(mask)), paint(folder / f"{number}_m.png", mask))
        for number, mask in enumerate(map(np.uint8, masks))
    ]
    return fingerprint(scan(pairs), mask_values=table, normalisation=NORMALISATION)


def test_class_fractions_exclude_ignored_pixels(tmp_path):
    found = of_masks(tmp_path, [[[0, 0, 1, 9], [2, 2, 2, 9]], [[1, 1, 1, 1]]])
    assert found.class_fractions == {"background": 0.2, "cell": 0.5, "wall": 0.3}
    assert found.rarest_class == ("wall", 0.3)
    assert (found.mean, found.std) == (pytest.approx(0.3), pytest.approx(0.2))


def test_masks_of_background_alone_are_empty(tmp_path):
    empty, cell, ignored = (np.full((4, 4), value, np.uint8) for value in (0, 9, 200))
    half_ignored = np.concatenate([empty, ignored])
    assert of_masks(tmp_path, [empty, cell, ignored, half_ignored]).empty_fraction == 0.5
    assert of_masks(tmp_path, [cell]).empty_fraction == 0.0


def test_sizes(tmp_path):
    found = of_masks(tmp_path, [np.eye(4, 6), np.eye(8, 6), np.eye(5, 3)])
    assert found.sizes == ((4, 6), (8, 6), (5, 3))
    assert found.median_size == (5, 6)
    assert found.pixels == 24 + 48 + 15


def test_object_width_is_the_mean_run_length(tmp_path):
    mask = [
        [1, 1, 1, 0, 1, 2, 2, 2, 2, 2],  # cell: runs of 3 and 1
        [0, 1, 1, 0, 0, 0, 2, 2, 2, 0],  # cell: 2; wall: 5 and 3
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ]
    assert of_masks(tmp_path, [mask]).object_width == pytest.approx((2 + 4) / 2)  # the median of 6/3 and 8/2
    assert of_masks(tmp_path, [np.zeros((3, 3))]).object_width is None


def test_object_width_of_one_class_is_the_narrower_of_it_and_background(tmp_path):
    mask = np.zeros((2, 12), int)
    mask[:, 2:10] = 255
    assert (
        of_masks(tmp_path, [mask], table=MaskValues(classes_by_value={0: "background", 255: "cell"})).object_width == 2
    )
    two = MaskValues(classes_by_value={0: "background", 255: "cell", 7: "wall"})
    mask[:, 2:6] = 7
    assert of_masks(tmp_path / "two", [mask], table=two).object_width == 4


def test_object_width_of_colour_masks(tmp_path):
    mask = np.zeros((2, 12, 3), int)
    mask[0, 1:5, 1] = 255
    table = MaskValues(classes_by_value={"#000000": "background", "#00ff00": "leaf"})
    assert of_masks(tmp_path, [mask], table=table).object_width == 4


def masks_where(tilt, *, count=40, noise=0.3):
    """Masks whose cell probability is higher by ``tilt`` in the upper half than in the lower."""
    generator = np.random.default_rng(0)
    half = np.full((20, 40), 0.5)
    chance = np.vstack([half + tilt / 2, half - tilt / 2])
    shift = generator.uniform(-noise, noise, count)
    return [generator.random((40, 40)) < chance + offset for offset in shift]


def test_asymmetry_is_a_difference_between_halves(tmp_path):
    assert of_masks(tmp_path / "tilted", masks_where(0.1)).vertically_asymmetric is True
    assert of_masks(tmp_path / "even", masks_where(0.0)).vertically_asymmetric is False


def test_asymmetry_of_few_masks_is_uncertain(tmp_path):
    assert of_masks(tmp_path, masks_where(0.5, count=15)).vertically_asymmetric is None


def test_asymmetry_of_varying_masks_is_uncertain(tmp_path):
    generator = np.random.default_rng(3)
    halves = [np.repeat([[generator.integers(2)], [generator.integers(2)]], 10, axis=0) for _ in range(20)]
    assert of_masks(tmp_path, [half * np.ones((1, 4)) for half in halves]).vertically_asymmetric is None
