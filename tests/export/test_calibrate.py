import numpy as np
import pytest

from maskwright.data.pairs import Pair
from maskwright.export import calibrate
from maskwright.export.calibrate import calibration_patches
from tests.export.a_run import paint
from tests.inference.fake_engines import bundle


@pytest.fixture
def pairs(tmp_path):
    """Image k has the constant value k + 1; the first is larger than a patch."""

    def image(k, *size):
        file = paint(tmp_path / f"{k}.png", np.full(size, k + 1, np.uint8))
        return Pair(str(k), file, file)

    return [image(0, 600, 300), *(image(k, 40, 56) for k in range(1, 5))]


def test_small_images_are_padded_and_large_ones_cropped(pairs):
    patches = list(calibration_patches(pairs, bundle(multiple=32)))
    assert sorted(patch.shape for patch in patches) == 4 * [(1, 64, 64, 1)] + 2 * [(1, 256, 256, 1)]
    found = sorted(float(patch.max()) for patch in patches)
    np.testing.assert_allclose(found, np.float32([1, 1, 2, 3, 4, 5]) / 255)
    assert all(patch.dtype == np.float32 and patch.min() == patch.max() for patch in patches)


def test_patches_depend_on_the_seed_only(pairs):
    first, again, other = (
        [patch.max() for patch in calibration_patches(pairs, bundle(multiple=32), seed=seed)] for seed in (0, 0, 1)
    )
    assert first == again != other


@pytest.mark.parametrize(
    ("limit", "most", "expected"), [("MAX_PATCHES", 3, 3), ("MAX_PIXELS", 3 * 40 * 56, 3), ("MAX_PIXELS", 1, 1)]
)
def test_number_of_patches_and_pixels_is_bounded(limit, most, expected, pairs, monkeypatch):
    monkeypatch.setattr(calibrate, limit, most)
    assert len(list(calibration_patches(pairs[1:], bundle(multiple=32)))) == expected
