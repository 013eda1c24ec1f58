"""Images are oriented as by Pillow, in every format with an EXIF orientation."""

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from maskwright.images.read import image_size, read_image, read_mask
from tests.images.painted import block, noise, png_16, saved

ASYMMETRIC = noise(3, 5, 3)


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[274] = orientation
    return tags


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_all_eight_orientations(tmp_path, suffix, orientation):
    path = saved(
        tmp_path / f"a{suffix}",
        ASYMMETRIC,
        exif=exif(orientation),
        **({"lossless": True} if suffix == ".webp" else {}),
    )
    with Image.open(path) as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture))
    np.testing.assert_array_equal(read_image(path), expected)
    np.testing.assert_array_equal(read_mask(path), expected)
    assert image_size(path) == expected.shape[:2] == ((5, 3) if orientation >= 5 else (3, 5))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_keeps_its_bright_corner(tmp_path, orientation):
    picture = np.zeros((16, 32), np.uint8)
    picture[:8, :8] = 255
    path = saved(tmp_path / "a.jpg", picture, exif=exif(orientation), quality=100)
    with Image.open(path) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened))
    np.testing.assert_array_equal(read_image(path)[..., 0], expected)
    assert image_size(path) == expected.shape


def test_a_chunk_after_the_pixels_is_found(tmp_path):
    """Some tools append the chunk; finding it decodes no pixels."""
    samples = noise(3, 5, 3, dtype="uint16")
    late = block(b"eXIf", exif(6).tobytes().removeprefix(b"Exif\0\0"))
    path = png_16(tmp_path / "a.png", samples, kind="rgb", after=late)
    np.testing.assert_array_equal(read_image(path), np.rot90(samples, -1))
    broken = bytearray(path.read_bytes())
    start = broken.index(b"IDAT") + 4
    broken[start : start + 4] = b"\0\0\0\0"
    (tmp_path / "b.png").write_bytes(broken)
    assert image_size(tmp_path / "b.png") == (5, 3)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("content", [b"", b"no EXIF at all", b"II*\0\xff\xff\xff\xff", b"MM"])
def test_a_broken_exif_block_is_ignored(tmp_path, content):
    samples = noise(3, 5, 3, dtype="uint16")
    path = png_16(tmp_path / "a.png", samples, kind="rgb", after=block(b"eXIf", content))
    np.testing.assert_array_equal(read_image(path), samples)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_invalid_orientation_is_ignored(tmp_path, orientation):
    path = saved(tmp_path / "a.png", ASYMMETRIC, exif=exif(orientation))
    np.testing.assert_array_equal(read_image(path), ASYMMETRIC)
    tifffile.imwrite(tmp_path / "a.tif", ASYMMETRIC, extratags=[(274, 3, 1, orientation, True)])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), ASYMMETRIC)
