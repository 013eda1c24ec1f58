"""Masks are read with their stored values; values that cannot be classes are an error."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from maskwright.images.errors import WrongMask
from maskwright.images.read import image_size, read_image, read_mask, read_mask_and_palette
from tests.images.painted import noise, png, png_16, saved

DATA = Path(__file__).parents[3] / "shared" / "data"


def palette_picture() -> Image.Image:
    picture = Image.fromarray(np.array([[0, 2], [1, 2]], np.uint8), "P")
    picture.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    return picture


@pytest.mark.parametrize(("suffix", "dtype"), [(".png", "uint8"), (".png", "uint16"), (".tif", "uint16")])
def test_ids_are_exact(tmp_path, suffix, dtype):
    ids = noise(5, 7, dtype=dtype)
    read = read_mask(saved(tmp_path / f"a{suffix}", ids))
    assert read.dtype == ids.dtype
    np.testing.assert_array_equal(read, ids)


@pytest.mark.parametrize(
    ("bits", "row", "expected"),
    [(1, b"\xa0", [1, 0, 1]), (2, b"\x1b", [0, 1, 2, 3]), (4, b"\x0f\x10", [0, 15, 1])],
)
def test_1_2_and_4_bits_are_not_scaled(tmp_path, bits, row, expected):
    path = png(tmp_path / "a.png", [row], size=(1, len(expected)), bits=bits, kind="gray")
    np.testing.assert_array_equal(read_mask(path), [expected])


def test_a_palette_gives_indices_and_colours(tmp_path):
    path = saved(tmp_path / "a.png", palette_picture(), transparency=0)
    values, palette = read_mask_and_palette(path)
    np.testing.assert_array_equal(values, [[0, 2], [1, 2]])
    np.testing.assert_array_equal(read_mask(path), values)
    assert palette is not None
    np.testing.assert_array_equal(palette[:3], [[0, 0, 0], [128, 0, 0], [0, 128, 0]])
    assert read_mask_and_palette(saved(tmp_path / "b.png", noise(2, 2)))[1] is None


def test_a_palette_in_a_tiff(tmp_path):
    colours = np.zeros((3, 256), np.uint16)
    colours[:, 7] = 257 * np.array((10, 20, 30))
    tifffile.imwrite(tmp_path / "a.tif", np.full((2, 3), 7, np.uint8), photometric="palette", colormap=colours)
    values, palette = read_mask_and_palette(tmp_path / "a.tif")
    np.testing.assert_array_equal(values, np.full((2, 3), 7))
    assert palette is not None
    assert palette[7].tolist() == [10, 20, 30]


@pytest.mark.parametrize("values", [np.array([[-1, 70000]], np.int32), np.array([[3.0, -2.0]], np.float64)])
def test_integral_values_become_int32(tmp_path, values):
    tifffile.imwrite(tmp_path / "a.tif", values)
    read = read_mask(tmp_path / "a.tif")
    assert read.dtype == np.int32
    np.testing.assert_array_equal(read, values)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (np.array([[0.0, 0.5]], np.float32), "float32 values from 0.0 to 0.5 with fractions"),
        (np.array([[0.0, np.nan]], np.float32), "float32 values from nan to nan with fractions"),
        (np.array([[0, 2**31]], np.uint32), "uint32 values from 0 to 2147483648"),
        (np.array([[0.0, 2.0**31]], np.float64), "float64 values from 0.0 to 2147483648.0"),
    ],
)
def test_fractions_and_large_values_are_an_error(tmp_path, values, found):
    tifffile.imwrite(tmp_path / "a.tif", values)
    with pytest.raises(WrongMask, match=rf"a\.tif: found {found}; expected integers of at most 32 bits"):
        read_mask(tmp_path / "a.tif")


def test_colours_are_exact(tmp_path):
    colours = noise(5, 7, 3)
    np.testing.assert_array_equal(read_mask(saved(tmp_path / "a.png", colours)), colours)


def test_gray_colours_become_ids(tmp_path):
    ids = noise(5, 7)
    gray = np.repeat(ids[..., None], 3, axis=2)
    np.testing.assert_array_equal(read_mask(saved(tmp_path / "a.png", gray)), ids)
    np.testing.assert_array_equal(read_mask(png_16(tmp_path / "b.png", gray.astype(np.uint16), kind="rgb")), ids)


def test_one_pixel_of_colour_makes_a_colour_mask(tmp_path):
    colours = np.zeros((5, 7, 3), np.uint8)
    colours[4, 6, 2] = 1
    np.testing.assert_array_equal(read_mask(saved(tmp_path / "a.png", colours)), colours)


def test_opaque_alpha_is_removed(tmp_path):
    colours = noise(5, 7, 3)
    opaque = np.concatenate([colours, np.full((5, 7, 1), 255, np.uint8)], axis=2)
    np.testing.assert_array_equal(read_mask(saved(tmp_path / "a.png", opaque)), colours)
    np.testing.assert_array_equal(read_mask(saved(tmp_path / "b.png", opaque[..., [0, 3]])), colours[..., 0])
    deep = np.array([[[3, 65535]]], np.uint16)
    np.testing.assert_array_equal(read_mask(png_16(tmp_path / "c.png", deep, kind="gray+alpha")), [[3]])


@pytest.mark.parametrize("channels", [2, 4])
def test_transparency_is_an_error(tmp_path, channels):
    pixels = np.full((5, 7, channels), 255, np.uint8)
    pixels[0, :3, -1] = 254
    with pytest.raises(WrongMask, match=r"a\.png: found 3 transparent pixels; .*without an alpha channel"):
        read_mask(saved(tmp_path / "a.png", pixels))


def test_16_bit_colours_and_many_channels_are_an_error(tmp_path):
    with pytest.raises(WrongMask, match=r"a\.png: found 3 channels of uint16; expected one channel"):
        read_mask(png_16(tmp_path / "a.png", noise(2, 3, 3, dtype="uint16"), kind="rgb"))
    tifffile.imwrite(tmp_path / "b.tif", noise(5, 6, 7), metadata={"axes": "CYX"}, photometric="minisblack")
    with pytest.raises(WrongMask, match="found 5 channels of uint8"):
        read_mask(tmp_path / "b.tif")


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no real images in {DATA.parent.name}/{DATA.name}")
def test_real_masks():
    camvid = read_mask(DATA / "camvid/test/masks/0001TP_008550.png")
    assert camvid.shape == image_size(DATA / "camvid/test/images/0001TP_008550.jpg") == (360, 480)
    assert set(np.unique(camvid)) <= set(range(12))
    assert set(np.unique(read_mask(DATA / "membrane/masks/0.png"))) == {0, 255}
    assert read_image(DATA / "membrane/images/0.png").shape == (512, 512, 1)
