"""The numbers of a fingerprint, each against one worked by hand on a few painted masks."""

import numpy as np
import pytest

from maskwright.data.fingerprint import fingerprint
from maskwright.data.mask_values import MaskValues
from maskwright.data.pairs import Pair
from maskwright.data.scan import scan
from maskwright.images.normalise import Normalisation
from tests.data.painted import paint

TABLE = MaskValues(words={0: "background", 1: "cell", 2: "wall", 9: "ignored"})
NORMALISATION = Normalisation(mean=(0.2, 0.4), std=(0.1, 0.3))


def of_masks(folder, masks, *, table=TABLE):
    pairs = [
        Pair(str(number), paint(folder / f"{number}.png", np.zeros_like(mask)), paint(folder / f"{number}_m.png", mask))
        for number, mask in enumerate(map(np.uint8, masks))
    ]
    return fingerprint(scan(pairs), mask_values=table, normalisation=NORMALISATION)


def test_shares_leave_out_what_is_ignored_and_the_rarest_is_no_background(tmp_path):
    found = of_masks(tmp_path, [[[0, 0, 1, 9], [2, 2, 2, 9]], [[1, 1, 1, 1]]])
    assert found.shares == {"background": 0.2, "cell": 0.5, "wall": 0.3}
    assert found.rarest == ("wall", 0.3)
    assert (found.mean, found.spread) == (pytest.approx(0.3), pytest.approx(0.2))


def test_sizes(tmp_path):
    found = of_masks(tmp_path, [np.eye(4, 6), np.eye(8, 6), np.eye(5, 3)])
    assert found.sizes == ((4, 6), (8, 6), (5, 3))
    assert found.median_size == (5, 6)
    assert found.pixels == 24 + 48 + 15


def test_parts_are_as_wide_as_their_runs(tmp_path):
    mask = [
        [1, 1, 1, 0, 1, 2, 2, 2, 2, 2],  # cell: runs of 3 and 1
        [0, 1, 1, 0, 0, 0, 2, 2, 2, 0],  # cell: 2; wall: 5 and 3
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ]
    assert of_masks(tmp_path, [mask]).object_pixels == pytest.approx((2 + 4) / 2)  # the median of 6/3 and 8/2
    assert of_masks(tmp_path, [np.zeros((3, 3))]).object_pixels is None


def test_of_one_class_the_narrower_of_it_and_the_background_counts(tmp_path):
    mask = np.zeros((2, 12), int)
    mask[:, 2:10] = 255
    assert of_masks(tmp_path, [mask], table=MaskValues(words={0: "background", 255: "cell"})).object_pixels == 2
    two = MaskValues(words={0: "background", 255: "cell", 7: "wall"})
    mask[:, 2:6] = 7
    assert of_masks(tmp_path / "two", [mask], table=two).object_pixels == 4


def test_runs_of_colours(tmp_path):
    mask = np.zeros((2, 12, 3), int)
    mask[0, 1:5, 1] = 255
    table = MaskValues(words={"#000000": "background", "#00ff00": "leaf"})
    assert of_masks(tmp_path, [mask], table=table).object_pixels == 4


def masks_where(tilt, *, count=40, noise=0.3):
    """Masks in which a pixel of the upper half is a cell with a probability higher by ``tilt`` than below."""
    generator = np.random.default_rng(0)
    half = np.full((20, 40), 0.5)
    chance = np.vstack([half + tilt / 2, half - tilt / 2])
    shift = generator.uniform(-noise, noise, count)
    return [generator.random((40, 40)) < chance + moved for moved in shift]


def test_up_is_up_where_halves_differ_and_not_where_they_are_alike(tmp_path):
    assert of_masks(tmp_path / "tilted", masks_where(0.1)).upright is True
    assert of_masks(tmp_path / "even", masks_where(0.0)).upright is False


def test_few_masks_do_not_tell(tmp_path):
    assert of_masks(tmp_path, masks_where(0.5, count=15)).upright is None


def test_masks_that_vary_much_do_not_tell(tmp_path):
    generator = np.random.default_rng(3)
    halves = [np.repeat([[generator.integers(2)], [generator.integers(2)]], 10, axis=0) for _ in range(20)]
    assert of_masks(tmp_path, [half * np.ones((1, 4)) for half in halves]).upright is None
