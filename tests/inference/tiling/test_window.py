import numpy as np
import pytest

from maskwright.images.windows.errors import UnreadableWindow
from maskwright.inference.bundle import WrongPixels
from maskwright.inference.tiling.window import WindowFailure, read_window
from tests.inference.box_engine import noise
from tests.inference.fake_engines import bundle


class Array:
    """A source in memory with unreadable tiles."""

    def __init__(self, pixels, *, nodata=None, block=(16, 16), bad=(), hidden=None):
        self.pixels = pixels if pixels.ndim == 3 else pixels[..., None]
        self.height, self.width, self.channels = self.pixels.shape
        self.dtype, self.nodata, self.block, self.bad = self.pixels.dtype, nodata, block, bad
        self.shown = np.ones(self.pixels.shape[:2], bool) if hidden is None else ~hidden

    def read(self, rows, columns):
        for top, left in self.bad:
            if rows.start < top + 16 and rows.stop > top and columns.start < left + 16 and columns.stop > left:
                fields = {"rows": slice(top, top + 16), "columns": slice(left, left + 16)}
                raise UnreadableWindow(file="a.tif", found="a broken tile", **fields)
        return self.pixels[rows, columns]

    def valid(self, rows, columns):
        return self.shown[rows, columns]


def read(source, rows, columns, **changes):
    return read_window(source, bundle(**changes), rows=slice(*rows), columns=slice(*columns), file="a.tif")


def test_a_window_is_reflected_at_the_borders_of_the_image():
    image = noise(70, 50)
    window = read(Array(image), (32, 96), (32, 64))
    whole = np.pad(image, ((0, 26), (0, 14)), mode="reflect")
    np.testing.assert_array_equal(np.rint(window.images[0, ..., 0] * 255), whole[32:, 32:])
    assert window.valid.all()
    assert window.failures == ()


@pytest.mark.parametrize("bad", [(), [(16, 16)]], ids=["whole", "by tiles"])
def test_pixels_that_the_file_masks_are_invalid(bad):
    hidden = np.random.default_rng(0).random((64, 64)) > 0.5
    window = read(Array(noise(64, 64), hidden=hidden, bad=bad), (0, 64), (0, 64))
    expected = ~hidden
    for top, left in bad:
        expected[top : top + 16, left : left + 16] = False
    assert (window.valid == expected).all()
    assert (window.images[0][~expected] == 0).all()


def test_nodata_pixels_are_invalid_and_hold_the_training_mean():
    image = np.uint8([[[7, 7], [7, 1]], [[2, 3], [7, 7]]])
    normalisation = {"mean": [0.5, 0.5], "std": [1, 1]}
    window = read(Array(image, nodata=7), (0, 2), (0, 2), channels=2, normalisation=normalisation, multiple=1)
    assert window.valid.tolist() == [[False, True], [True, False]]  # nodata in a single channel is a colour
    assert (window.images[0][~window.valid] == 0).all()
    np.testing.assert_allclose(window.images[0, 0, 1], np.float32([7, 1]) / 255 - 0.5)


def test_nan_nodata_is_replaced():
    image = np.float32([[np.nan, 0.25]])
    window = read(Array(image, nodata=float("nan")), (0, 1), (0, 2), pixels=("float32",), multiple=1)
    assert window.valid.tolist() == [[False, True]]
    assert window.images.ravel().tolist() == [0, 0.25]


def test_an_unreadable_tile_is_reported_and_the_others_are_read():
    image = noise(64, 64)
    window = read(Array(image, bad=[(16, 32)]), (5, 64), (3, 61))
    assert window.failures == (WindowFailure((16, 32), (32, 48), "a broken tile"),)
    expected = np.ones((64, 64), bool)
    expected[16:32, 32:48] = False
    np.testing.assert_array_equal(window.valid, expected[5:64, 3:61])
    np.testing.assert_array_equal(np.rint(window.images[0, ..., 0] * 255), np.where(expected, image, 0)[5:64, 3:61])


def test_transparent_pixels_are_invalid():
    image = np.uint8([[[9, 9, 9, 255], [1, 2, 3, 0]]])
    window = read(Array(image), (0, 1), (0, 2), multiple=1)
    assert window.valid.tolist() == [[True, False]]
    assert np.rint(window.images.ravel() * 255).tolist() == [9, 0]


def test_a_fourth_channel_that_the_network_takes_is_not_alpha():
    normalisation = {"mean": [0] * 4, "std": [1] * 4}
    window = read(Array(np.zeros((1, 1, 4), np.uint8)), (0, 1), (0, 1), channels=4, normalisation=normalisation)
    assert window.valid.all()


def test_another_dtype_is_an_error():
    with pytest.raises(WrongPixels, match=r"a\.tif: pixels are uint16"):
        read(Array(noise(8, 8).astype(np.uint16)), (0, 8), (0, 8))
