"""A scan reads each file once, records its facts, and continues after unreadable files."""

import threading
from collections import Counter
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from maskwright.data.near_duplicates import perceptual_hash
from maskwright.data.pairs import Pair, pair_folders
from maskwright.data.scan import MAX_VALUES, ImageFacts, MaskFacts, scan
from maskwright.images import read as read_module
from maskwright.images.errors import ImageFault
from tests.data.painted import paint


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(3)


def facts(image: Path, mask: Path) -> tuple[ImageFacts, MaskFacts]:
    (scanned,) = scan([Pair("a", image, mask)])
    assert scanned.image is not None
    assert scanned.mask is not None
    assert scanned.failures == {}
    return scanned.image, scanned.mask


def test_facts_of_a_pair(tmp_path, random):
    pixels = random.integers(0, 256, (5, 7, 3), np.uint8)
    image, mask = facts(paint(tmp_path / "a.png", pixels), paint(tmp_path / "m.png", [[0, 3, 3], [200, 0, 3]]))
    assert (image.size, image.channels, image.dtype) == ((5, 7), 3, "uint8")
    assert (mask.size, mask.values, mask.palette) == ((2, 3), {0: 2, 3: 3, 200: 1}, {})


def test_one_coloured_pixel_makes_an_image_coloured(tmp_path):
    mask = paint(tmp_path / "m.png", [[0]])
    pixels = np.zeros((40, 5, 3), np.uint8)
    assert facts(paint(tmp_path / "gray.png", pixels), mask)[0].is_gray
    pixels[3, 2, 1] = 1
    assert not facts(paint(tmp_path / "coloured.png", pixels), mask)[0].is_gray


def test_the_digest_covers_type_shape_and_pixels(tmp_path, random):
    pixels = random.integers(0, 256, (4, 6, 3), np.uint8)
    mask = paint(tmp_path / "m.png", [[0]])
    as_png, as_tiff = (facts(paint(tmp_path / name, pixels), mask)[0].digest for name in ("a.png", "a.tif"))
    assert as_png == as_tiff == sha256(b"uint8 (4, 6, 3)" + pixels.tobytes()).hexdigest()
    others = [pixels.swapaxes(0, 1), pixels.reshape(6, 4, 3), pixels.astype(np.uint16), pixels ^ 1]
    digests = {facts(paint(tmp_path / f"{n}.tif", other), mask)[0].digest for n, other in enumerate(others)}
    assert len(digests | {as_png}) == 5


@pytest.mark.parametrize(
    ("alpha", "channels"), [([[255, 255]], 3), ([[255, 254]], 4)], ids=["opaque", "partly transparent"]
)
def test_an_opaque_alpha_is_not_counted(tmp_path, alpha, channels):
    pixels = np.dstack([np.zeros((1, 2, 3), int), alpha])
    assert facts(paint(tmp_path / "a.png", pixels), paint(tmp_path / "m.png", [[0]]))[0].channels == channels


def test_colours_are_counted_as_colours(tmp_path):
    mask = paint(tmp_path / "m.png", [[[255, 0, 0], [0, 0, 0], [255, 0, 0]]])
    assert facts(paint(tmp_path / "a.png", [[0]]), mask)[1].values == {"#000000": 1, "#ff0000": 2}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_value_counts_match_numpy_for_every_type(tmp_path, dtype, random):
    values = random.choice([0, 1, 77, 255], (30, 40)).astype(dtype)
    mask = paint(tmp_path / "m.tif", values)
    expected = Counter(values.ravel().tolist())
    assert facts(paint(tmp_path / "a.png", [[0]]), mask)[1].values == expected


@pytest.mark.parametrize("colours", [False, True])
def test_upper_halves_and_runs_are_counted(tmp_path, colours):
    mask = np.array([[0, 3, 3, 0, 3], [3, 3, 3, 3, 3], [0, 0, 0, 0, 0]])
    names = {value: f"#{value:02x}0000" if colours else value for value in (0, 3)}
    pixels = np.dstack([mask, 0 * mask, 0 * mask]) if colours else mask
    found = facts(paint(tmp_path / "a.png", [[0]]), paint(tmp_path / "m.png", pixels))[1]
    assert found.upper_half == {names[0]: 2, names[3]: 3}  # one row of three; the middle row belongs to the lower half
    assert found.runs == {names[0]: 3, names[3]: 3}


def test_the_perceptual_hash_excludes_opaque_alpha(tmp_path, random):
    pixels = random.integers(0, 256, (30, 40, 3), np.uint8)
    opaque = np.dstack([pixels, np.full((30, 40), 255)])
    mask = paint(tmp_path / "m.png", [[0]])
    hashes = [
        facts(paint(tmp_path / name, image), mask)[0].perceptual_hash
        for name, image in (("a.png", pixels), ("b.png", opaque))
    ]
    assert hashes == [perceptual_hash(pixels)] * 2


def test_palette_colours_are_kept_for_used_values(tmp_path):
    mask = paint(tmp_path / "m.png", [[0, 2]], palette=[0, 0, 0, 128, 0, 0, 0, 128, 0])
    _, scanned = facts(paint(tmp_path / "a.png", [[0]]), mask)
    assert scanned.values == {0: 1, 2: 1}
    assert scanned.palette == {0: (0, 0, 0), 2: (0, 128, 0)}


def test_the_number_of_recorded_values_is_bounded(tmp_path, random):
    pixels = random.integers(0, 256, (64, 64, 3), np.uint8)
    values = facts(paint(tmp_path / "a.png", [[0]]), paint(tmp_path / "m.png", pixels))[1].values
    assert len(values) == MAX_VALUES


def test_unreadable_files_are_recorded_as_failures(tmp_path, random):
    good, broken = paint(tmp_path / "a.png", random.integers(0, 256, (40, 40), np.uint8)), tmp_path / "broken.png"
    broken.write_bytes(good.read_bytes()[:-200])
    first, second, third = scan([Pair("1", good, broken), Pair("2", broken, good), Pair("3", good, good)])
    assert (first.image is None, first.mask is None, list(first.failures)) == (False, True, [broken])
    assert (second.image is None, second.mask is None, list(second.failures)) == (True, False, [broken])
    assert third.failures == {}
    assert isinstance(first.failures[broken], ImageFault)
    assert "broken.png" in str(first.failures[broken])


def test_every_file_is_decoded_once_in_the_order_of_the_pairs(tmp_path, monkeypatch):
    for number in range(12):
        paint(tmp_path / f"i/{number}.png", [[number]])
        paint(tmp_path / f"m/{number}.png", [[number]])
    reads, lock, decode = Counter[Path](), threading.Lock(), read_module.read_raster

    def counting(path):
        with lock:
            reads[path] += 1
        return decode(path)

    monkeypatch.setattr(read_module, "read_raster", counting)
    pairs = pair_folders(tmp_path / "i", tmp_path / "m").pairs[::-1]
    calls = []
    scanned = scan(pairs, progress=lambda done, total: calls.append((done, total)))
    assert [pair.pair for pair in scanned] == list(pairs)
    assert [pair.mask and pair.mask.values for pair in scanned] == [{int(pair.name): 1} for pair in pairs]
    assert reads == {file: 1 for pair in pairs for file in (pair.image, pair.mask)}
    assert calls == [(done, 12) for done in range(1, 13)]


def test_nothing_to_scan():
    assert scan([]) == []
