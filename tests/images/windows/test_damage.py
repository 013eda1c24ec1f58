"""Unreadable windows are reported by position; wrong headers are an error before memory is allocated."""

import pickle
import struct
import tracemalloc

import numpy as np
import pytest
import tifffile

from maskwright.images.errors import (
    DamagedImage,
    ImageFault,
    ImageTooLarge,
    NotAnImage,
    StackedImage,
    UnreadableImage,
    UnsupportedPixels,
)
from maskwright.images.windows.errors import UnreadableWindow
from maskwright.images.windows.source import open_source
from tests.images.painted import block, noise, png_header

PIXELS = noise(50, 70, 3)


def tiled(path, **options):
    tifffile.imwrite(path, PIXELS, photometric="rgb", **{"tile": (16, 32), "compression": "zlib", **options})
    return path


def spoil(path, *, segment):
    """Overwrite the start of one tile or strip."""
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[0].dataoffsets[segment]
    with path.open("rb+") as stream:
        stream.seek(offset)
        stream.write(b"\xff" * 6)


def change(path, tag, value):
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages[0].tags[tag].overwrite(value)
    return path


@pytest.mark.parametrize(
    ("options", "segment", "rows", "columns"),
    [
        ({}, 4, "16 to 32", "32 to 64"),
        ({}, 11, "48 to 50", "64 to 70"),
        ({"tile": None, "rowsperstrip": 20}, 2, "40 to 50", "0 to 70"),
        ({"compression": "zstd"}, 4, "16 to 32", "32 to 64"),
    ],
    ids=str,
)
def test_a_corrupt_segment_is_reported_and_the_rest_is_read(tmp_path, options, segment, rows, columns):
    path = tiled(tmp_path / "a.tif", **options)
    spoil(path, segment=segment)
    with open_source(path) as source:
        with pytest.raises(UnreadableWindow) as caught:
            source.read(slice(0, 50), slice(0, 70))
        message = rf"a.tif: rows {rows}, columns {columns}: found bytes that cannot be decoded ("
        assert message in str(caught.value)
        assert "; expected decodable, finite pixels." in str(caught.value)
        part = caught.value.fields["rows"]
        assert isinstance(part, slice)
        np.testing.assert_array_equal(source.read(slice(0, 16), slice(0, 70)), PIXELS[:16])
    # By itself: where Dask is loaded, what caused it is pickled too, and not every decoder's error can be.
    fault = caught.value
    fault.__cause__ = fault.__context__ = None
    assert str(pickle.loads(pickle.dumps(fault))) == str(fault)  # noqa: S301


def test_non_finite_pixels_are_reported(tmp_path):
    pixels = np.zeros((50, 70), np.float32)
    pixels[20, 30] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    with open_source(tmp_path / "a.tif") as source:
        source.read(slice(0, 20), slice(0, 70))
        with pytest.raises(
            UnreadableWindow, match=r"rows 10 to 30, columns 0 to 70: found 1 of 1400 values that are NaN"
        ):
            source.read(slice(10, 30), slice(0, 70))


def test_truncation_during_reading_is_an_error(tmp_path):
    for name, write in (("a.npy", np.save), ("a.tif", tifffile.imwrite)):
        path = tmp_path / name
        write(path, PIXELS)
        with open_source(path) as source:
            with path.open("rb+") as stream:
                stream.truncate(5000)
            with pytest.raises(
                UnreadableWindow, match=r"rows 40 to 50, columns 0 to 70: .*the file ends \d+ bytes early"
            ):
                source.read(slice(40, 50), slice(3, 9))


def classic_tiff(*, width, height, offset, count, compression=1, bits=8, samples=1, tags=()):
    """A little-endian TIFF with one directory and one strip, by the TIFF 6.0 specification."""
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, bits),
        (259, 3, 1, compression),
        (262, 3, 1, 1),
        (273, 4, 1, offset),
        (277, 3, 1, samples),
        (278, 4, 1, height),
        (279, 4, 1, count),
        *tags,
    ]
    directory = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    header = struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + directory + struct.pack("<I", 0)
    return header.ljust(300, b"\0")


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (
            {"width": 10**9, "height": 10**9, "offset": 200, "count": 100},
            ImageTooLarge,
            "found 1000000000 x 1000000000",
        ),
        (
            {"width": 10**6, "height": 10**6, "offset": 200, "count": 100},
            DamagedImage,
            "found 300 bytes; expected 1000000000200 bytes",
        ),
        (
            {"width": 10**6, "height": 10**6, "offset": 200, "count": 100, "compression": 8},
            ImageFault,
            "found 1000000 x 1000000 pixels in segments of 1000000 x 1000000",
        ),
        (
            {"width": 8, "height": 8, "offset": 10**9, "count": 64},
            DamagedImage,
            "found 300 bytes; expected the 1000000064",
        ),
        (
            {"width": 8, "height": 8, "offset": 200, "count": 10**9},
            DamagedImage,
            "found 300 bytes; expected the 1000000200",
        ),
        ({"width": 0, "height": 8, "offset": 200, "count": 64}, ImageFault, "expected"),
        ({"width": 8, "height": 8, "offset": 200, "count": 64, "samples": 60000}, ImageFault, "expected"),
    ],
    ids=str,
)
def test_a_wrong_header_is_an_error(tmp_path, content, error, message):
    path = tmp_path / "a.tif"
    path.write_bytes(classic_tiff(**content))
    tracemalloc.start()
    try:
        with pytest.raises(error, match=message):
            open_source(path)
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()


def test_the_test_header_is_valid_with_true_values(tmp_path):
    (tmp_path / "a.tif").write_bytes(classic_tiff(width=8, height=8, offset=200, count=64))
    with open_source(tmp_path / "a.tif") as source:
        assert source.read(slice(0, 8), slice(0, 8)).sum() == 0


def test_a_wrong_number_of_segments_is_an_error(tmp_path):
    path = change(tiled(tmp_path / "a.tif"), "ImageLength", 500)
    with pytest.raises(DamagedImage, match=r"found 12 offsets and 12 sizes of tiles or strips; expected 96 of each"):
        open_source(path)


def test_tiles_beyond_the_end_are_an_error(tmp_path):
    path = tiled(tmp_path / "a.tif")
    with tifffile.TiffFile(path) as tiff:
        offsets = list(tiff.pages[0].dataoffsets)
    change(path, "TileOffsets", [*offsets[:-1], 10**9])
    with pytest.raises(DamagedImage, match=r"expected the 10000\d+ bytes that its header lists"):
        open_source(path)


def test_wrong_tile_sizes_are_an_error(tmp_path):
    path = change(tiled(tmp_path / "a.tif"), "TileWidth", 16)
    with pytest.raises(DamagedImage, match="found 12 offsets and 12 sizes of tiles or strips; expected 20 of each"):
        open_source(path)
    path = change(tiled(tmp_path / "a.tif"), "TileWidth", 0)
    with pytest.raises(DamagedImage, match="found tiles of size 0; expected tiles of at least one pixel"):
        open_source(path)


def test_a_negative_strip_offset_is_an_error(tmp_path):
    header = classic_tiff(width=8, height=8, offset=2**32 - 50, count=64)
    signed = header.replace(struct.pack("<HHI", 273, 4, 1), struct.pack("<HHI", 273, 9, 1))  # SLONG: -50
    (tmp_path / "a.tif").write_bytes(signed)
    with pytest.raises(DamagedImage, match="found negative offsets of tiles or strips"):
        open_source(tmp_path / "a.tif")


@pytest.mark.parametrize("keep", [3, 7, 50, 100, 200, 1000])
def test_a_truncated_file_is_an_error(tmp_path, keep):
    path = tiled(tmp_path / "a.tif")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ImageFault):
        open_source(path)


def test_an_overwritten_header_raises_only_documented_errors(tmp_path):
    """Changing any byte of the directory raises only documented errors."""
    original = tiled(tmp_path / "a.tif").read_bytes()
    random = np.random.default_rng(0)
    for number in range(150):
        content = bytearray(original)
        content[random.integers(0, 400)] = random.integers(0, 256)
        path = tmp_path / f"{number}.tif"
        path.write_bytes(content)
        try:
            with open_source(path) as source:
                source.read(slice(0, min(50, source.height)), slice(0, min(70, source.width)))
        except (ImageFault, UnreadableWindow):
            continue


def test_stacks_and_other_colour_spaces_are_an_error(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", noise(4, 20, 30), photometric="minisblack")
    with pytest.raises(StackedImage, match="found axes Q 4, Y 20, X 30"):
        open_source(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "a.tif", noise(20, 30, 4), photometric="separated")
    with pytest.raises(UnsupportedPixels, match="the colour space SEPARATED"):
        open_source(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((20, 30), np.complex64))
    with pytest.raises(UnsupportedPixels, match="complex64"):
        open_source(tmp_path / "a.tif")


def test_channels_in_other_files_are_an_error(tmp_path):
    tifffile.imwrite(tmp_path / "a.ome.tif", noise(2, 20, 30), photometric="minisblack", metadata={"axes": "CYX"})
    xml = tifffile.TiffFile(tmp_path / "a.ome.tif").ome_metadata
    head, tail = xml.split("<TiffData", 1)
    rest = tail.split("</Pixels>", 1)[1]
    data = "".join(
        f'<TiffData IFD="0" FirstC="{c}" PlaneCount="1"><UUID FileName="{name}">urn:uuid:{c}</UUID></TiffData>'
        for c, name in enumerate(("b.ome.tif", "c.ome.tif"))
    )
    for name in ("b.ome.tif", "c.ome.tif"):
        text = f"{head}{data}</Pixels>{rest}"
        tifffile.imwrite(tmp_path / name, noise(20, 30), photometric="minisblack", description=text, metadata=None)
    with pytest.raises(ImageFault):
        open_source(tmp_path / "b.ome.tif")


def test_a_file_that_is_not_an_image_is_an_error(tmp_path):
    with pytest.raises(UnreadableImage, match=r"none\.tif: found no such file"):
        open_source(tmp_path / "none.tif")
    (tmp_path / "a.tif").write_bytes(b"text, not an image")
    with pytest.raises(NotAnImage, match="a file that starts with b'text"):
        open_source(tmp_path / "a.tif")
    (tmp_path / "a.tif").write_bytes(b"")
    with pytest.raises(NotAnImage, match="an empty file"):
        open_source(tmp_path / "a.tif")
    with pytest.raises(NotAnImage, match="a folder without Zarr metadata; expected a Zarr array or group"):
        open_source(tmp_path)


def test_the_error_of_a_large_png_names_the_remedy(tmp_path):
    (tmp_path / "a.png").write_bytes(png_header(30000, 30000, bits=8, kind="rgb") + block(b"IDAT", b""))
    with pytest.raises(ImageTooLarge, match=r"30000 x 30000 pixels .*Save it as a tiled TIFF"):
        open_source(tmp_path / "a.png")
