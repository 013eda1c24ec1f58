"""Windows of a source are slices of what `read_image` returns."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from maskwright.errors import WrongArgument
from maskwright.images.read import read_image
from maskwright.images.windows.source import open_source
from tests.images.painted import noise, saved

ODD_WINDOWS = [(0, 1, 0, 1), (3, 47, 5, 18), (15, 17, 31, 33), (49, 50, 69, 70), (0, 50, 0, 70)]
TILED = {"tile": (16, 32)}
GRAY = noise(50, 70)
RGB = noise(50, 70, 3)
MANY = noise(50, 70, 5, dtype="uint16")
PLANES = np.ascontiguousarray(np.moveaxis(MANY, -1, 0))
FLOATS = np.random.default_rng(0).normal(size=(50, 70)).astype(np.float32)
COLOURS = noise(3, 256, dtype="uint16", seed=3)


def named(value):
    return f"{value.dtype}{value.shape}" if isinstance(value, np.ndarray) else str(value)


def agrees(path):
    whole = read_image(path)
    with open_source(path) as source:
        assert (source.height, source.width, source.channels) == whole.shape
        assert source.dtype == whole.dtype
        for top, bottom, left, right in ODD_WINDOWS:
            window = source.read(slice(top, bottom), slice(left, right))
            assert window.dtype == whole.dtype
            np.testing.assert_array_equal(window, whole[top:bottom, left:right])
        return source.windowed


@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "packbits", "zstd", "lzma"])
@pytest.mark.parametrize("layout", [TILED, {"rowsperstrip": 7}, {"rowsperstrip": 1}], ids=str)
def test_compressions_in_tiles_and_strips(tmp_path, layout, compression):
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb", compression=compression, **layout)
    assert agrees(tmp_path / "a.tif")


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        (MANY, {"photometric": "minisblack", "planarconfig": "contig"}),
        (MANY, {"photometric": "minisblack", "planarconfig": "contig", **TILED, "compression": "zlib"}),
        (PLANES, {"photometric": "minisblack", "planarconfig": "separate"}),
        (PLANES, {"photometric": "minisblack", "planarconfig": "separate", **TILED}),
        (PLANES, {"photometric": "minisblack", "planarconfig": "separate", "rowsperstrip": 9, "compression": "zlib"}),
        (PLANES, {"photometric": "minisblack", "metadata": {"axes": "CYX"}}),
        (PLANES, {"photometric": "minisblack", "metadata": {"axes": "CYX"}, **TILED, "compression": "lzw"}),
        (PLANES, {"photometric": "minisblack", "ome": True, "metadata": {"axes": "CYX"}, **TILED}),
        (RGB, {"photometric": "rgb", "ome": True, "metadata": {"axes": "YXS"}, **TILED, "compression": "zlib"}),
        (FLOATS, {"predictor": True, "compression": "lzw", **TILED}),
        (FLOATS, {"bigtiff": True, "rowsperstrip": 3}),
        (FLOATS.astype(np.float16), {"compression": "zlib"}),
        (noise(50, 70, dtype="int16"), TILED),
        (noise(50, 70, dtype="int8"), {"compression": "zlib", **TILED}),
        (GRAY.astype(np.uint32), {"compression": "zlib"}),
        (GRAY.astype(np.float64), {}),
    ],
    ids=named,
)
def test_every_layout_and_type(tmp_path, pixels, options, byteorder):
    tifffile.imwrite(tmp_path / "a.tif", pixels, byteorder=byteorder, **options)
    agrees(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        (GRAY, {"photometric": "palette", "colormap": COLOURS}),
        (GRAY, {"photometric": "miniswhite", "metadata": None}),
        (noise(50, 70, dtype="uint16"), {"photometric": "miniswhite", "metadata": None}),
        (GRAY > 128, {}),
        (GRAY > 128, {"photometric": "miniswhite", "metadata": None}),
        (GRAY % 16, {"bitspersample": 4, "photometric": "minisblack"}),
        (noise(50, 70, 4), {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
        (RGB, {"photometric": "rgb", "compression": "jpeg"}),
        (RGB, {"photometric": "rgb", "compression": "jpeg", "rowsperstrip": 16}),
    ],
    ids=named,
)
@pytest.mark.parametrize("layout", [{}, TILED], ids=str)
def test_every_photometric_interpretation(tmp_path, pixels, options, layout):
    if layout is TILED and ("rowsperstrip" in options or pixels.dtype == bool or "bitspersample" in options):
        layout = {"rowsperstrip": 8}
    tifffile.imwrite(tmp_path / "a.tif", pixels, **{**options, **layout})
    agrees(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg"])
def test_files_of_libtiff(tmp_path, compression):
    agrees(saved(tmp_path / "a.tif", RGB, compression=compression))


@pytest.mark.parametrize("compression", ["raw", "group4"])
def test_one_bit_fax_compression(tmp_path, compression):
    agrees(saved(tmp_path / "a.tif", Image.fromarray(GRAY > 128), compression=compression))


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_tiff_with_an_orientation_is_read_as_a_whole(tmp_path, orientation):
    tifffile.imwrite(tmp_path / "a.tif", noise(70, 70, 3), photometric="rgb", extratags=[(274, "H", 1, orientation)])
    assert not agrees(tmp_path / "a.tif")


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.webp", "a.gif", "a.jpg"])
def test_other_formats_are_read_as_a_whole(tmp_path, name):
    assert not agrees(saved(tmp_path / name, RGB))


def test_a_pyramid_is_read_at_full_resolution(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif", ome=True) as writer:
        writer.write(RGB, photometric="rgb", subifds=1, **TILED)
        writer.write(RGB[::2, ::2], photometric="rgb", subfiletype=1, **TILED)
    assert agrees(tmp_path / "a.tif")
    with tifffile.TiffWriter(tmp_path / "b.tif") as writer:
        writer.write(RGB, photometric="rgb", metadata=None, **TILED)
        writer.write(RGB[::2, ::2], photometric="rgb", subfiletype=1, metadata=None)
        writer.write(np.ones((50, 70), bool), subfiletype=4, metadata=None)
    assert agrees(tmp_path / "b.tif")


def test_an_ome_tiff_is_read_as_its_first_image(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as writer:
        writer.write(RGB, photometric="rgb", **TILED)
        writer.write(RGB[:20, :10], photometric="rgb")
    with open_source(tmp_path / "a.ome.tif") as source:
        np.testing.assert_array_equal(source.read(slice(0, 50), slice(0, 70)), RGB)


def test_blocks_are_those_of_the_file(tmp_path):
    def block(**options):
        tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb", **options)
        with open_source(tmp_path / "a.tif") as source:
            return source.block

    assert block(tile=(16, 32)) == (16, 32)
    assert block(rowsperstrip=7, compression="zlib") == (7, 70)
    assert block() == (1, 70)
    assert block(tile=(64, 128), compression="zlib") == (50, 70)


@pytest.mark.parametrize("rows", [slice(0, 51), slice(-1, 2), slice(5, 5), slice(None), slice(0, 4, 2)], ids=str)
def test_a_window_outside_the_image_is_an_error(tmp_path, rows):
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb")
    with open_source(tmp_path / "a.tif") as source:
        with pytest.raises(WrongArgument, match=r"rows=slice.*expected slice\(start, stop\) .* <= 50"):
            source.read(rows, slice(0, 1))
        with pytest.raises(WrongArgument, match=r"columns=slice.*<= 70"):
            source.read(slice(0, 1), slice(0, 71))
