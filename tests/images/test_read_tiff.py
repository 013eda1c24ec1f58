"""TIFFs of any layout are read exactly, channels last."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from maskwright.images.errors import StackedImage, UnsupportedPixels
from maskwright.images.read import image_size, read_image, read_mask
from tests.images.painted import noise, saved


@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "packbits", "zstd", "lzma"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_compressions(tmp_path, dtype, compression):
    pixels = noise(20, 30, 3, dtype=dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", compression=compression)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), pixels)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate"])
def test_files_of_libtiff(tmp_path, compression):
    pixels = noise(20, 30, 3)
    np.testing.assert_array_equal(read_image(saved(tmp_path / "a.tif", pixels, compression=compression)), pixels)


def test_jpeg_compression_is_converted_to_rgb(tmp_path):
    pixels = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", compression="jpeg")
    np.testing.assert_allclose(read_image(tmp_path / "a.tif"), pixels, atol=3)


@pytest.mark.parametrize(
    "options",
    [
        {"tile": (16, 32)},
        {"rowsperstrip": 3},
        {"bigtiff": True},
        {"byteorder": ">"},
        {"predictor": True, "compression": "lzw"},
    ],
    ids=str,
)
def test_floats_in_every_frame(tmp_path, options):
    pixels = np.random.default_rng(0).normal(size=(20, 30)).astype(np.float32)
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[..., 0], pixels)


@pytest.mark.parametrize(
    ("axes", "options"),
    [
        ("CYX", {"photometric": "minisblack", "metadata": {"axes": "CYX"}}),
        ("YXC", {"photometric": "minisblack", "metadata": {"axes": "YXC"}}),
        ("CYX", {"photometric": "minisblack", "planarconfig": "separate"}),
        ("YXC", {"photometric": "minisblack", "planarconfig": "contig"}),
        ("CYX", {"photometric": "minisblack", "imagej": True, "metadata": {"axes": "CYX"}}),
        ("CYX", {"photometric": "minisblack", "ome": True, "metadata": {"axes": "CYX"}}),
    ],
    ids=str,
)
def test_planar_and_interleaved_channels_are_last(tmp_path, axes, options):
    pixels = noise(20, 30, 5, dtype="uint16")
    laid = np.moveaxis(pixels, -1, 0) if axes == "CYX" else pixels
    tifffile.imwrite(tmp_path / "a.tif", laid, **options)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), pixels)
    assert image_size(tmp_path / "a.tif") == (20, 30)


def test_an_image_of_one_row_keeps_its_row(tmp_path):
    for shape in ((1, 5), (5, 1), (1, 1)):
        tifffile.imwrite(tmp_path / "a.tif", noise(*shape))
        assert read_image(tmp_path / "a.tif").shape == (*shape, 1)


def test_thumbnails_and_pyramid_levels_are_skipped(tmp_path):
    pixels = noise(64, 96, 3)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(pixels, photometric="rgb", metadata=None)
        writer.write(pixels[::2, ::2], photometric="rgb", subfiletype=1, metadata=None)
        writer.write(pixels[:10, :7], photometric="rgb", subfiletype=1, metadata=None)
        writer.write(np.ones((64, 96), bool), subfiletype=4, metadata=None)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), pixels)


def test_a_palette(tmp_path):
    colours = np.zeros((3, 256), np.uint16)
    colours[:, 7] = 257 * np.array((10, 20, 30))
    tifffile.imwrite(tmp_path / "a.tif", np.full((2, 3), 7, np.uint8), photometric="palette", colormap=colours)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), np.broadcast_to((10, 20, 30), (2, 3, 3)))
    tifffile.imwrite(tmp_path / "b.tif", np.full((2, 3), 7, np.uint8), photometric="palette", colormap=colours // 257)
    np.testing.assert_array_equal(read_image(tmp_path / "b.tif"), np.broadcast_to((10, 20, 30), (2, 3, 3)))


@pytest.mark.parametrize("compression", ["raw", "group4"])
def test_one_bit_fax_compression_matches_pillow(tmp_path, compression):
    bits = noise(9, 13) > 128
    path = saved(tmp_path / "a.tif", Image.fromarray(bits), compression=compression)
    np.testing.assert_array_equal(read_image(path)[..., 0], bits * 255)
    np.testing.assert_array_equal(read_mask(path), bits)


def test_white_is_zero_is_inverted(tmp_path):
    """Written as by a program other than tifffile; Pillow inverts it too."""
    gray = noise(4, 5)
    tifffile.imwrite(tmp_path / "a.tif", gray, photometric="miniswhite", metadata=None)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[..., 0], 255 - gray)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.tif")), 255 - gray)


def test_booleans_of_tifffile_are_not_inverted(tmp_path):
    """tifffile marks them as white-is-zero without inverting them."""
    mask = noise(4, 5) > 128
    tifffile.imwrite(tmp_path / "a.tif", mask)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), mask)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif"), mask)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[..., 0], mask * 255)


@pytest.mark.parametrize(
    ("shape", "options", "found"),
    [
        ((4, 20, 30), {"photometric": "minisblack"}, "axes Q 4, Y 20, X 30"),
        ((4, 20, 30), {"photometric": "minisblack", "metadata": {"axes": "ZYX"}}, "axes Z 4, Y 20, X 30"),
        ((4, 2, 20, 30), {"photometric": "minisblack", "metadata": {"axes": "TCYX"}}, "axes T 4, C 2, Y 20, X 30"),
    ],
)
def test_a_stack_is_an_error_that_names_the_axes(tmp_path, shape, options, found):
    tifffile.imwrite(tmp_path / "a.tif", noise(*shape), **options)
    with pytest.raises(StackedImage, match=rf"a\.tif: found {found}; expected one image .*axes CYX"):
        read_image(tmp_path / "a.tif")


def test_pages_of_different_sizes_are_an_error(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(noise(20, 30))
        writer.write(noise(7, 9))
    with pytest.raises(StackedImage, match="found 2 images; expected one image"):
        image_size(tmp_path / "a.tif")


@pytest.mark.parametrize(("mode", "name"), [("CMYK", "SEPARATED"), ("LAB", "CIELAB"), ("YCbCr", "YCBCR")])
def test_other_colour_spaces_are_an_error(tmp_path, mode, name):
    path = saved(tmp_path / "a.tif", Image.new(mode, (3, 2)))
    with pytest.raises(UnsupportedPixels, match=rf"a\.tif: found the colour space {name}; .*Export it as RGB"):
        read_image(path)


def test_channels_of_unequal_bits_are_an_error(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise(2, 3, 3), photometric="rgb", metadata=None)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages[0].tags["BitsPerSample"].overwrite((5, 6, 5))
    with pytest.raises(UnsupportedPixels, match="found channels of 5, 6, 5 bits"):
        read_image(path)
