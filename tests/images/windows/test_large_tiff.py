"""Only the segments that a window overlaps are read, decoded and held in memory."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile

from maskwright.images.errors import ImageTooLarge
from maskwright.images.windows import segments
from maskwright.images.windows import tiff as windows_tiff
from maskwright.images.windows.source import open_source
from tests.images.painted import noise


@pytest.fixture(scope="module")
def huge(tmp_path_factory):
    """20000 x 20000 RGB pixels, 1.2 GB, in a file of some kilobytes that repeats one tile."""
    path = tmp_path_factory.mktemp("huge") / "a.tif"
    tile = noise(250, 250, 3)[: 16 * 15, : 16 * 15]

    def tiles():
        yield tile
        for _ in range(84 * 84 - 1):
            yield None

    tifffile.imwrite(
        path,
        tiles(),
        shape=(20000, 20000, 3),
        dtype="uint8",
        tile=(240, 240),
        photometric="rgb",
        compression="zlib",
        metadata=None,
    )
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tags = tiff.pages[0].tags
        offset, count = tags["TileOffsets"].value[0], tags["TileByteCounts"].value[0]
        tags["TileOffsets"].overwrite([offset] * 84 * 84)
        tags["TileByteCounts"].overwrite([count] * 84 * 84)
    return path, tile


def test_a_window_of_a_huge_image_takes_little_memory(huge):
    path, tile = huge
    tracemalloc.start()
    try:
        with open_source(path) as source:
            window = source.read(slice(12000 - 77, 12000 + 123), slice(19000, 19200))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    rows, columns = np.arange(12000 - 77, 12000 + 123) % 240, np.arange(19000, 19200) % 240
    np.testing.assert_array_equal(window, tile[rows][:, columns])
    assert peak < 20e6  # most of it is the table of 7056 tiles, twice; the pixels are 0.12 MB


def test_each_segment_is_decoded_once_for_neighbouring_windows(huge, monkeypatch):
    decoded = []
    real = segments.SegmentReader._decoded
    monkeypatch.setattr(segments.SegmentReader, "_decoded", lambda self, *at: decoded.append(at) or real(self, *at))
    with open_source(huge[0]) as source:
        source.read(slice(0, 300), slice(0, 300))
        source.read(slice(0, 300), slice(200, 500))
    assert sorted(decoded) == [(0, down, across) for down in range(2) for across in range(3)]


def test_the_cache_of_segments_is_bounded(huge, monkeypatch):
    monkeypatch.setattr(segments, "_CACHE_BYTES", 4 * 240 * 240 * 3)
    with open_source(huge[0]) as source:
        for left in range(0, 10000, 240):
            source.read(slice(0, 240), slice(left, left + 240))
        assert source.samples._segment.cache_info().currsize == 4


def test_windows_can_be_read_from_several_threads(tmp_path):
    pixels = noise(300, 400, 3)
    for compression in (None, "zlib"):
        tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", tile=(32, 32), compression=compression)
        corners = [(top, left) for top in range(0, 280, 20) for left in range(0, 380, 20)]
        with open_source(tmp_path / "a.tif") as source, ThreadPoolExecutor(4) as pool:
            found = pool.map(lambda at: source.read(slice(at[0], at[0] + 20), slice(at[1], at[1] + 20)), corners)
            for (top, left), window in zip(corners, found, strict=True):
                np.testing.assert_array_equal(window, pixels[top : top + 20, left : left + 20])


def test_missing_tiles_are_zeros_or_nodata(tmp_path):
    def tiles():
        yield from (np.full((16, 16), 7, np.uint8), None, None, None)

    options = {"shape": (32, 32), "dtype": "uint8", "tile": (16, 16), "compression": "zlib"}
    for extratags, filled in (([], 0), ([(42113, "s", 0, "9", True)], 9)):
        tifffile.imwrite(tmp_path / "a.tif", tiles(), extratags=extratags, **options)
        with open_source(tmp_path / "a.tif") as source:
            pixels = source.read(slice(0, 32), slice(0, 32))[..., 0]
        expected = np.full((32, 32), filled)
        expected[:16, :16] = 7
        np.testing.assert_array_equal(pixels, expected)


def test_one_compressed_strip_is_an_error_if_too_large(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", noise(50, 70), compression="zlib", rowsperstrip=50)
    with open_source(tmp_path / "a.tif") as source:
        assert not source.windowed
    monkeypatch.setattr(windows_tiff, "MAX_PIXELS", 50 * 70 - 1)
    with pytest.raises(ImageTooLarge, match=r"a\.tif: found 50 x 70 pixels in segments of 50 x 70; .*TILED=YES"):
        open_source(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "a.tif", noise(50, 70), compression="zlib", rowsperstrip=25)
    with open_source(tmp_path / "a.tif") as source:
        assert source.windowed
