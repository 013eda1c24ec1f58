"""NumPy files are read in C and Fortran order."""

import struct

import numpy as np
import pytest

from maskwright.images.errors import DamagedImage, ImageTooLarge, UnsupportedPixels
from maskwright.images.windows.errors import WrongAxes
from maskwright.images.windows.source import open_source
from tests.images.painted import noise


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(
    "array",
    [
        noise(50, 70),
        noise(50, 70, 3),
        noise(50, 70, 2, dtype="uint16"),
        noise(50, 70, 3, dtype="uint16").astype(">u2"),
        np.random.default_rng(0).normal(size=(50, 70, 4)).astype(np.float32),
    ],
    ids=lambda array: f"{array.dtype.str}{array.shape}",
)
def test_windows_are_slices(tmp_path, array, order):
    np.save(tmp_path / "a.npy", np.asarray(array, order=order))
    whole = array if array.ndim == 3 else array[..., None]
    with open_source(tmp_path / "a.npy") as source:
        assert (source.height, source.width, source.channels) == whole.shape
        assert source.windowed
        assert source.dtype == whole.dtype.newbyteorder("=")
        for rows, columns in ((slice(3, 47), slice(5, 18)), (slice(49, 50), slice(0, 70)), (slice(0, 50), slice(0, 1))):
            np.testing.assert_array_equal(source.read(rows, columns), whole[rows, columns])


def test_booleans_are_black_and_white(tmp_path):
    np.save(tmp_path / "a.npy", np.eye(4, dtype=bool))
    with open_source(tmp_path / "a.npy") as source:
        np.testing.assert_array_equal(source.read(slice(0, 4), slice(0, 4))[..., 0], 255 * np.eye(4))


@pytest.mark.parametrize(
    ("array", "error", "message"),
    [
        (np.array([[{}, 1]], object), UnsupportedPixels, r"a\.npy: found values of type object; expected integers"),
        (np.zeros((2, 2), "U3"), UnsupportedPixels, "values of type <U3"),
        (np.zeros((2, 2), "c8"), UnsupportedPixels, "values of type complex64"),
        (np.zeros(5), WrongAxes, r"an array of shape \(5,\); expected shape \(height, width\)"),
        (np.zeros((2, 2, 2, 2)), WrongAxes, r"an array of shape \(2, 2, 2, 2\)"),
        (np.zeros((3, 20, 1025), np.uint8), ImageTooLarge, "3 x 20 pixels of 1025 channels; .*channels last"),
    ],
)
def test_an_array_that_is_not_an_image_is_an_error(tmp_path, array, error, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(error, match=message):
        open_source(tmp_path / "a.npy")


def test_a_truncated_array_is_an_error(tmp_path):
    np.save(tmp_path / "a.npy", noise(50, 70))
    content = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(content[:-1])
    with pytest.raises(DamagedImage, match=rf"found {len(content) - 1} bytes; expected {len(content)} bytes"):
        open_source(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (1000000, 1000000)}", "expected 1000000000128 bytes"),
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (-5, 5)}", "-5 x 5 pixels"),
        ("__import__('os').getcwd()", "cannot be decoded"),
    ],
)
def test_a_wrong_header_is_an_error(tmp_path, header, message):
    text = header.ljust(117) + "\n"
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode())
    with pytest.raises(ValueError, match=message):
        open_source(tmp_path / "a.npy")


def test_another_version_is_an_error(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x09\x00")
    with pytest.raises(DamagedImage, match=r"a \.npy file of version 9\.0; expected version 1\.0 or 2\.0"):
        open_source(tmp_path / "a.npy")
