"""Internal masks of TIFFs are read as by GDAL."""

import numpy as np
import pytest

from maskwright.images.windows.source import open_source
from tests.images.painted import noise

rasterio = pytest.importorskip("rasterio")
from rasterio.enums import Resampling  # noqa: E402

MASK = np.random.default_rng(0).random((100, 130)) > 0.4


def with_mask(path, **options):
    profile = {"driver": "GTiff", "height": 100, "width": 130, "count": 3, "dtype": "uint8", **options}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **profile) as file:
        file.write(np.moveaxis(noise(100, 130, 3), -1, 0))
        file.write_mask(MASK)
        file.build_overviews([2], Resampling.nearest)
    return path


@pytest.mark.parametrize(
    "options",
    [
        {"compress": "jpeg", "photometric": "ycbcr", "tiled": True, "blockxsize": 32, "blockysize": 16},
        {"compress": "deflate"},
        {"tiled": True, "blockxsize": 64, "blockysize": 64},
        {},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_windows_of_the_mask_match_gdal(tmp_path, options):
    path = with_mask(tmp_path / "a.tif", **options)
    with open_source(path) as source:
        assert (source.channels, source.nodata) == (3, None)
        for rows, columns in ((slice(0, 100), slice(0, 130)), (slice(13, 71), slice(40, 129))):
            valid = source.valid(rows, columns)
            assert valid.dtype == bool
            np.testing.assert_array_equal(valid, MASK[rows, columns])
        assert source.read(slice(0, 100), slice(0, 130)).shape == (100, 130, 3)


def test_without_a_mask_all_pixels_are_valid(tmp_path):
    np.save(tmp_path / "a.npy", noise(9, 7))
    with open_source(tmp_path / "a.npy") as source:
        assert source.valid(slice(2, 9), slice(0, 7)).tolist() == [[True] * 7] * 7
