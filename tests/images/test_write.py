"""Files are written atomically and can be read by other libraries."""

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from maskwright.errors import WrongArgument
from maskwright.images.read import read_image, read_mask
from maskwright.images.write import atomic_path, write_image, write_json, write_mask, write_probabilities, write_text
from tests.images.painted import noise


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_file_appears_when_the_block_ends(tmp_path):
    target = tmp_path / "new" / "folders" / "a.txt"
    with atomic_path(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.suffix == ".txt"
        assert temporary.name.startswith(".")
        temporary.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert names(target.parent) == ["a.txt"]


def test_an_old_file_is_replaced_only_at_the_end(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with atomic_path(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, failure):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def fail_half_way() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise failure

    with pytest.raises(failure):
        fail_half_way()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("step", ["replace", "fsync"])
def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch, step):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="No space left"):
        write_text(tmp_path / "a.txt", "text")
    assert names(tmp_path) == []


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a.txt"):
        pass
    assert names(tmp_path) == []


def test_files_are_flushed_before_they_are_renamed(tmp_path, monkeypatch):
    steps: list[str] = []

    def noted(name: str) -> None:
        original = getattr(os, name)

        def step(*given: Any) -> None:
            steps.append(name)
            original(*given)

        monkeypatch.setattr(os, name, step)

    noted("fsync")
    noted("replace")
    write_text(tmp_path / "a.txt", "text")
    assert steps == ["fsync", "replace"]


@pytest.mark.skipif(os.name != "posix", reason="file permissions are those of POSIX systems")
def test_file_permissions_follow_the_umask(tmp_path):
    (tmp_path / "plain").touch()
    write_text(tmp_path / "a.txt", "text")
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    hnp.arrays(st.sampled_from([np.uint8, np.uint16, bool]), hnp.array_shapes(min_dims=2, max_dims=2))
    | hnp.arrays(np.int64, (3, 2), elements=st.integers(0, 65535))
    | hnp.arrays(np.uint8, (2, 3, 3))
)
def test_masks_are_read_as_written(tmp_path, values):
    write_mask(tmp_path / "a.png", values)
    gray = values.ndim == 3 and (values == values[..., :1]).all()
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), values[..., 0] if gray else values)


@pytest.mark.parametrize("shape", [(12, 10), (12, 10, 3)])
def test_views_of_larger_arrays_are_read_as_written(tmp_path, shape):
    whole = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    for name, view in {
        "turned": whole[::-1, ::-1],
        "sparse": whole[::3, 1::2],
        "transposed": whole.swapaxes(0, 1),
    }.items():
        write_mask(tmp_path / f"{name}.png", view)
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / f"{name}.png")), view)


def test_masks_of_few_ids_take_a_fraction_of_a_byte_per_pixel(tmp_path):
    rows, columns = np.mgrid[:200, :300]
    write_mask(tmp_path / "a.png", ((rows - 90) ** 2 + (columns - 150) ** 2 < 60**2).astype(np.uint8) * 7)
    assert (tmp_path / "a.png").stat().st_size < 200 * 300 / 50


@pytest.mark.parametrize(("greatest", "dtype"), [(255, np.uint8), (256, np.uint16), (65535, np.uint16)])
def test_pillow_reads_the_same_ids_in_the_fewest_bits(tmp_path, greatest, dtype):
    values = np.array([[0, 1, greatest]])
    write_mask(tmp_path / "a.png", values)
    pixels = np.asarray(Image.open(tmp_path / "a.png"))
    assert pixels.dtype == dtype
    np.testing.assert_array_equal(pixels, values)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.array([[-1, 3]]), "values='-1 to 3': expected 0 to 65535"),
        (np.array([[0, 65536]]), "values='0 to 65536'"),
        (np.zeros((2, 2)), "values='float64 array of shape .*h, w, 3. uint8"),
        (np.zeros((2, 2, 3), np.uint16), "values='uint16 array of shape"),
        (np.zeros((2, 2, 4), np.uint8), "values='uint8 array of shape"),
        (np.zeros((0, 2), np.uint8), "values='uint8 array of shape"),
    ],
)
def test_an_invalid_mask_is_an_error(tmp_path, values, words):
    with pytest.raises(WrongArgument, match=words):
        write_mask(tmp_path / "a.png", values)
    assert names(tmp_path) == []


def test_a_mask_is_only_written_as_png(tmp_path):
    with pytest.raises(WrongArgument, match=r"a\.jpg'.*: expected a name that ends in \.png"):
        write_mask(tmp_path / "a.jpg", np.zeros((2, 2), np.uint8))


def test_images(tmp_path):
    rgb = noise(5, 7, 3)
    for name in ("a.png", "a.BMP", "a.tif"):
        write_image(tmp_path / name, rgb)
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / name)), rgb)
    write_image(tmp_path / "a.jpg", rgb)
    assert Image.open(tmp_path / "a.jpg").format == "JPEG"
    with pytest.raises(WrongArgument, match="expected the suffix of an image format"):
        write_image(tmp_path / "a.txt", rgb)
    with pytest.raises(WrongArgument, match=r"rgb='uint8 array of shape \(5, 7, 1\)': expected \(h, w, 3\)"):
        write_image(tmp_path / "b.png", rgb[..., :1])


@pytest.mark.parametrize("classes", [1, 3, 5])
def test_probabilities_have_a_page_for_each_class(tmp_path, classes):
    probabilities = np.random.default_rng(0).random((6, 8, classes)).astype(np.float16)
    path = tmp_path / "a.tif"
    write_probabilities(path, probabilities)
    planes = tifffile.imread(path).reshape(classes, 6, 8)
    assert planes.dtype == np.float32
    np.testing.assert_array_equal(planes, np.moveaxis(probabilities, -1, 0))
    np.testing.assert_array_equal(read_image(path), probabilities)
    with Image.open(path) as pages:
        assert getattr(pages, "n_frames", 1) == classes
        for index in range(classes):
            pages.seek(index)
            np.testing.assert_array_equal(np.asarray(pages), probabilities[..., index])


def test_invalid_probabilities_are_an_error(tmp_path):
    with pytest.raises(WrongArgument, match=r"expected floats of shape \(h, w, classes\)"):
        write_probabilities(tmp_path / "a.tif", np.zeros((2, 2)))
    with pytest.raises(WrongArgument, match="probabilities='uint8 array"):
        write_probabilities(tmp_path / "a.tif", np.zeros((2, 2, 2), np.uint8))
    with pytest.raises(WrongArgument, match=r"a name that ends in \.tif or \.tiff"):
        write_probabilities(tmp_path / "a.png", np.zeros((2, 2, 2)))


def test_text_is_utf_8_with_newline_endings(tmp_path):
    write_text(tmp_path / "a.txt", "größe\n")
    assert (tmp_path / "a.txt").read_bytes() == "größe\n".encode()


def test_json_writes_nan_as_null(tmp_path):
    data = {"b": [1.5, float("nan"), np.float64("inf")], "a": {"name": "größe", "none": None, "pair": (1, True)}}
    write_json(tmp_path / "a.json", data)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    expected = {"b": [1.5, None, None], "a": {"name": "größe", "none": None, "pair": [1, True]}}
    assert json.loads(text, parse_constant=pytest.fail) == expected
    assert list(json.loads(text)) == ["b", "a"]
    assert "größe" in text
    assert text.endswith("}\n")
