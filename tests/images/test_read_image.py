"""Pixels are read exactly as other libraries wrote them."""

import struct
import tracemalloc
import warnings
import zlib
from contextlib import suppress

import numpy as np
import pytest
import tifffile
from PIL import Image

from maskwright.images.errors import ImageFault, UnsupportedPixels
from maskwright.images.read import image_size, read_image
from tests.images.painted import block, noise, png, png_16, saved, smooth


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".webp", ".tif"])
def test_gray_is_one_channel_and_exact(tmp_path, suffix):
    gray = noise(5, 7)
    path = saved(tmp_path / f"a{suffix}", gray, **({"lossless": True} if suffix == ".webp" else {}))
    pixels = read_image(path)
    channels = 3 if suffix == ".webp" else 1  # WebP has no gray format
    expected = np.repeat(gray[..., None], channels, axis=2)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize(("suffix", "channels"), [(".png", 3), (".png", 4), (".bmp", 3), (".webp", 3), (".tif", 4)])
def test_colours_and_alpha_are_exact(tmp_path, suffix, channels):
    pixels = noise(5, 7, channels) | 128  # WebP forgets colours that are wholly transparent
    options = {"lossless": True, "exact": True} if suffix == ".webp" else {}
    np.testing.assert_array_equal(read_image(saved(tmp_path / f"a{suffix}", pixels, **options)), pixels)


def test_gray_with_alpha_is_two_channels(tmp_path):
    pixels = noise(4, 6, 2)
    np.testing.assert_array_equal(read_image(saved(tmp_path / "a.png", pixels)), pixels)


def test_a_jpeg_matches_pillow_and_is_close_to_the_original(tmp_path):
    painted = smooth(40, 60)
    path = saved(tmp_path / "a.jpg", painted, quality=95, subsampling=0)
    pixels = read_image(path)
    np.testing.assert_array_equal(pixels, np.asarray(Image.open(path)))
    assert np.abs(pixels.astype(int) - painted).max() < 8


def test_a_cmyk_jpeg_becomes_rgb(tmp_path):
    inks = Image.merge("CMYK", [Image.new("L", (8, 8), value) for value in (255, 0, 0, 0)])  # pure cyan
    pixels = read_image(saved(tmp_path / "a.jpg", inks, quality=100))
    assert pixels.shape == (8, 8, 3)
    np.testing.assert_allclose(pixels[4, 4], (0, 255, 255), atol=3)


def test_a_palette_is_converted_to_colours(tmp_path):
    picture = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "P")
    picture.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    expected = [[[10, 20, 30], [40, 50, 60]], [[70, 80, 90], [40, 50, 60]]]
    np.testing.assert_array_equal(read_image(saved(tmp_path / "a.png", picture)), expected)
    np.testing.assert_array_equal(read_image(saved(tmp_path / "a.gif", picture)), expected)
    transparent = read_image(saved(tmp_path / "b.png", picture, transparency=1))
    np.testing.assert_array_equal(transparent[0], [[10, 20, 30, 255], [40, 50, 60, 0]])


def test_an_index_beyond_the_palette_is_black(tmp_path):
    path = png(tmp_path / "a.png", [b"\0\7"], size=(1, 2), bits=8, kind="palette", before=block(b"PLTE", b"\1\2\3"))
    np.testing.assert_array_equal(read_image(path), [[[1, 2, 3], [0, 0, 0]]])


@pytest.mark.parametrize(
    ("bits", "row", "expected"),
    [(1, b"\xa0", [255, 0, 255]), (2, b"\x1b", [0, 85, 170, 255]), (4, b"\x0f\x10", [0, 255, 17])],
)
def test_1_2_and_4_bits_are_scaled_to_255(tmp_path, bits, row, expected):
    path = png(tmp_path / "a.png", [row], size=(1, len(expected)), bits=bits, kind="gray")
    np.testing.assert_array_equal(read_image(path)[0, :, 0], expected)


@pytest.mark.parametrize(
    ("kind", "shape"), [("gray", (3, 5, 1)), ("gray+alpha", (3, 5, 2)), ("rgb", (3, 5, 3)), ("rgb+alpha", (3, 5, 4))]
)
def test_a_16_bit_png_is_exact(tmp_path, kind, shape):
    samples = noise(*shape, dtype="uint16")
    pixels = read_image(png_16(tmp_path / "a.png", samples, kind=kind))
    assert pixels.dtype == np.uint16
    np.testing.assert_array_equal(pixels, samples)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_colour_key_is_not_an_alpha_channel(tmp_path, bits):
    row = np.array([1, 2], f">u{bits // 8}").tobytes()
    key = block(b"tRNS", struct.pack(">H", 1))
    path = png(tmp_path / "a.png", [row], size=(1, 2), bits=bits, kind="gray", before=key)
    np.testing.assert_array_equal(read_image(path), [[[1], [2]]])


def test_the_first_frame_of_an_animation_is_read(tmp_path):
    frames = [Image.new("RGB", (4, 3), colour) for colour in ("red", "blue")]
    path = saved(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(read_image(path), np.broadcast_to((255, 0, 0), (3, 4, 3)))


def test_the_format_is_detected_from_the_content(tmp_path):
    gray = noise(5, 7)
    for name, form in (("a.jpg", "PNG"), ("b.png", "TIFF"), ("c.tif", "BMP"), ("d", "PNG")):
        np.testing.assert_array_equal(read_image(saved(tmp_path / name, gray, format=form))[..., 0], gray)


@pytest.mark.parametrize("orientation", [1, 6])
def test_arrays_are_writable_and_contiguous(tmp_path, orientation):
    tags = Image.Exif()
    tags[274] = orientation
    pixels = read_image(saved(tmp_path / "a.png", noise(5, 7, 3), exif=tags))
    assert pixels.flags.writeable
    assert pixels.flags.c_contiguous


def test_large_images_raise_no_warning(tmp_path):
    path = png(
        tmp_path / "a.png", [], size=(10_000, 9_000), bits=1, kind="gray"
    )  # Pillow warns above 89 million pixels
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert image_size(path) == (10_000, 9_000)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_non_finite_pixels_are_an_error(tmp_path, bad):
    pixels = np.ones((4, 5))
    pixels[1, 2] = pixels[3, 3] = bad
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    with pytest.raises(UnsupportedPixels, match=r"a\.tif: found 2 of 20 values that are NaN, "):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize(
    "pixels",
    [
        np.array([[0.25, -3.5]], np.float16),
        np.array([[0.25, -3.5]], np.float64),
        np.array([[-128, 127]], np.int8),
        np.array([[-32768, 32767]], np.int16),
        np.array([[-5, 2**24]], np.int32),
        np.array([[5, 2**24]], np.uint32),
    ],
    ids=lambda pixels: str(pixels.dtype),
)
def test_other_types_are_converted_exactly_to_float32(tmp_path, pixels):
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    read = read_image(tmp_path / "a.tif")
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read[..., 0], pixels.astype(np.float64))


@pytest.mark.parametrize(
    ("pixels", "found"),
    [
        (np.array([[0, 2**24 + 1]], np.int32), "int32 values from 0 to 16777217; .*16 bits"),
        (np.array([[1j, 2]], np.complex64), "pixels of complex64; .*Convert"),
    ],
)
def test_inexact_conversions_are_an_error(tmp_path, pixels, found):
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    with pytest.raises(UnsupportedPixels, match=rf"a\.tif: found {found}"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("colour_type", [0, 2, 6])
def test_an_interlaced_png_is_exact(tmp_path, colour_type):
    pixels = noise(13, 21, {0: 1, 2: 3, 6: 4}[colour_type])
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    rows = [row for top, left, down, right in passes for row in pixels[top::down, left::right]]
    data = b"".join(b"\0" + row.tobytes() for row in rows if len(row))
    header = struct.pack(">IIBBBBB", 21, 13, 8, colour_type, 0, 0, 1)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(block(name, body) for name, body in chunks))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), pixels)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")).reshape(pixels.shape), pixels)


def test_the_decoded_size_is_the_checked_one(tmp_path):
    """Decoders treat a second header differently, but the decoded size is always the checked one."""
    pixels = noise(4, 6)
    whole = saved(tmp_path / "a.png", pixels).read_bytes()
    large = block(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0))
    (tmp_path / "b.png").write_bytes(whole[:8] + large + whole[8:])
    tracemalloc.start()
    with suppress(ImageFault):
        assert read_image(tmp_path / "b.png").shape == (4, 6, 1)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()
