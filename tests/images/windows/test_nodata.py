"""Missing pixels have the nodata value of the source, for every type and nodata value of the file."""

import math

import numpy as np
import pytest
import tifffile

from maskwright.images.windows.source import open_source

LOWEST = float(np.finfo(np.float32).min)


def read(path, pixels, nodata, **options):
    tag = (42113, "s", 0, nodata, True)
    tifffile.imwrite(path, pixels, tile=(16, 16), compression="zlib", metadata=None, extratags=[tag], **options)
    with open_source(path) as source:
        rows, columns = slice(0, source.height), slice(0, source.width)
        return source.read(rows, columns)[..., 0], source.nodata


@pytest.mark.parametrize(
    ("dtype", "stored", "text", "nodata"),
    [
        ("uint8", 255, "255", 255),
        ("uint16", 0, "0", 0),
        ("int16", -9999, "-9999", -9999),
        ("int32", -(2**31), "-2147483648", -(2**31)),
        ("int32", 2**31 - 1, "2147483647", math.nan),  # 32-bit floats do not hold it
        ("float32", -9999, "-9999", -9999),
        ("float32", LOWEST, "-3.4028234663852886e+38", LOWEST),
        ("float32", np.float32(0.1), "0.1", float(np.float32(0.1))),
        ("float32", math.nan, "nan", math.nan),
        ("float32", math.inf, "inf", math.nan),
        ("float64", np.finfo(np.float64).min, "-1.7976931348623157e+308", math.nan),
    ],
)
def test_missing_pixels_have_the_nodata_value_of_the_source(tmp_path, dtype, stored, text, nodata):
    pixels = np.arange(1, 401, dtype=dtype).reshape(20, 20) if dtype != "uint8" else np.ones((20, 20), dtype)
    pixels[3, 5] = stored
    found, named = read(tmp_path / "a.tif", pixels, text)
    assert named == nodata or (math.isnan(named) and math.isnan(nodata))
    hidden = np.isnan(found) if math.isnan(named) else found == named
    assert np.argwhere(hidden).tolist() == [[3, 5]]
    np.testing.assert_array_equal(found[~hidden], pixels[~hidden])


@pytest.mark.parametrize("text", ["-9999", "256", "0.5", "nan", "none", ""])
def test_an_unrepresentable_nodata_value_is_none(tmp_path, text):
    _, named = read(tmp_path / "a.tif", np.ones((20, 20), np.uint8), text)
    assert named is None


def test_white_is_zero_inverts_the_nodata_value(tmp_path):
    pixels = np.full((20, 20), 9, np.uint8)
    pixels[3, 5] = 0
    found, named = read(tmp_path / "a.tif", pixels, "0", photometric="miniswhite")
    assert named == 255
    assert np.argwhere(found == named).tolist() == [[3, 5]]


def test_a_palette_index_is_not_a_nodata_value(tmp_path):
    colours = np.zeros((3, 256), np.uint16)
    _, named = read(tmp_path / "a.tif", np.ones((20, 20), np.uint8), "1", photometric="palette", colormap=colours)
    assert named is None


def test_a_file_without_nodata_has_none(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((4, 4), np.uint8))
    with open_source(tmp_path / "a.tif") as source:
        assert source.nodata is None
