import numpy as np
import pytest

from maskwright.images.run_length import (
    WrongRunLengths,
    decode_runs,
    encode_runs,
    read_run_lengths,
    write_run_lengths,
)


def by_hand(mask):
    """The encoding by the definition of the competition, pixel by pixel."""
    runs, last = [], None
    for place, pixel in enumerate(mask.T.ravel(), start=1):
        if pixel:
            if last == place - 1:
                runs[-1][1] += 1
            else:
                runs.append([place, 1])
            last = place
    return " ".join(f"{start} {length}" for start, length in runs)


@pytest.mark.parametrize("seed", range(40))
def test_decoding_inverts_encoding(seed):
    rng = np.random.default_rng(seed)
    size = tuple(rng.integers(1, 30, 2))
    mask = rng.random(size) < rng.choice([0.0, 0.02, 0.5, 0.98, 1.0])
    text = encode_runs(mask)
    assert text == by_hand(mask)
    np.testing.assert_array_equal(decode_runs(text, size), mask)
    numbers = [int(word) for word in text.split()]
    starts, ends = numbers[::2], [start + length for start, length in zip(numbers[::2], numbers[1::2], strict=True)]
    assert all(end < start for end, start in zip(ends, starts[1:], strict=False)), "in order, and never touching"


def test_pixels_are_numbered_by_column_from_1():
    mask = np.zeros((101, 101), np.uint8)
    mask[:, 0] = 255
    mask[100, 100] = 1
    assert encode_runs(mask) == "1 101 10201 1"


@pytest.mark.parametrize(("text", "filled"), [("", 0), ("   ", 0), ("1 10201", 10201)])
def test_empty_and_full_masks(text, filled):
    assert decode_runs(text, (101, 101)).sum() == filled


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1", "'1'"),
        ("1 2 3", "'1 2 3'"),
        ("0 3", "'0 3'"),
        ("1 -2", "'1 -2'"),
        ("1 2.5", "'1 2.5'"),
        ("one 2", "'one 2'"),
        ("1 0", "'1 0'"),
        ("99999999999999999999999 1", "'99999999999999999999999 1'"),
        ("1 " + "9" * 5000, "'1 99999"),
        ("5 3", "a run beyond the end, 5 3"),
        ("7 1", "a run beyond the end, 7 1"),
        ("9223372036854775807 2", "a run beyond the end"),
        ("1 3 3 1", "a run at 3 that starts"),
        ("4 1 1 2", "a run at 1 that starts"),
    ],
)
def test_invalid_run_lengths_are_an_error(text, found):
    with pytest.raises(WrongRunLengths, match=found):
        decode_runs(text, (2, 3), source="a.csv, image 7")


def test_the_error_names_source_and_expected_pixels():
    with pytest.raises(WrongRunLengths) as raised:
        decode_runs("6 2", (2, 3), source="train.csv: a1")
    assert str(raised.value) == "train.csv: a1: found a run beyond the end, 6 2; expected pixels up to 6, 2 x 3."


def test_reading_inverts_writing(tmp_path):
    masks = {"b": "1 2 5 1", "a": "", "c": "3 3"}
    write_run_lengths(tmp_path / "new/masks.csv", masks.items())
    assert (tmp_path / "new/masks.csv").read_bytes() == b"id,rle_mask\nb,1 2 5 1\na,\nc,3 3\n"
    assert read_run_lengths(tmp_path / "new/masks.csv") == masks


def test_a_file_from_a_spreadsheet_is_read(tmp_path):
    (tmp_path / "masks.csv").write_bytes(b'\xef\xbb\xbf"id","rle_mask"\r\n"a","1 2"\r\n\r\n"b",\r\n')
    assert read_run_lengths(tmp_path / "masks.csv") == {"a": "1 2", "b": ""}


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b"id,z\na,1\n", "the columns id,z"),
        (b"id,rle_mask\na,1 2,3\n", "3 columns in line 2"),
        (b"id,rle_mask\na\n", "1 columns in line 2"),
        (b"id,rle_mask\na,\na,\n", "the id a twice"),
        (b"id,rle_mask\n\xff\xfe,\n", "not text"),
    ],
)
def test_an_invalid_file_is_an_error(tmp_path, content, found):
    (tmp_path / "masks.csv").write_bytes(content)
    with pytest.raises(WrongRunLengths, match=rf"masks\.csv: found .*{found}"):
        read_run_lengths(tmp_path / "masks.csv")


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(WrongRunLengths, match=r"none\.csv: found No such file"):
        read_run_lengths(tmp_path / "none.csv")
