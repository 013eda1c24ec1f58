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
    """The same text by the competition's own words, pixel by pixel."""
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
def test_any_mask_comes_back_as_it_was(seed):
    rng = np.random.default_rng(seed)
    size = tuple(rng.integers(1, 30, 2))
    mask = rng.random(size) < rng.choice([0.0, 0.02, 0.5, 0.98, 1.0])
    text = encode_runs(mask)
    assert text == by_hand(mask)
    np.testing.assert_array_equal(decode_runs(text, size), mask)
    numbers = [int(word) for word in text.split()]
    starts, ends = numbers[::2], [start + length for start, length in zip(numbers[::2], numbers[1::2], strict=True)]
    assert all(end < start for end, start in zip(ends, starts[1:], strict=False)), "in order, and never touching"


def test_columns_come_first_and_pixels_are_counted_from_one():
    mask = np.zeros((101, 101), np.uint8)
    mask[:, 0] = 255
    mask[100, 100] = 1
    assert encode_runs(mask) == "1 101 10201 1"


@pytest.mark.parametrize(("text", "filled"), [("", 0), ("   ", 0), ("1 10201", 10201)])
def test_nothing_and_everything(text, filled):
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
        ("5 3", "a run past the end, 5 3"),
        ("7 1", "a run past the end, 7 1"),
        ("9223372036854775807 2", "a run past the end"),
        ("1 3 3 1", "a run that begins at 3"),
        ("4 1 1 2", "a run that begins at 1"),
    ],
)
def test_what_is_no_mask_is_refused(text, found):
    with pytest.raises(WrongRunLengths, match=found):
        decode_runs(text, (2, 3), source="a.csv, image 7")


def test_the_error_says_where_and_what_was_expected():
    with pytest.raises(WrongRunLengths) as raised:
        decode_runs("6 2", (2, 3), source="train.csv: a1")
    assert str(raised.value) == "train.csv: a1: found a run past the end, 6 2; expected pixels up to 6, 2 x 3."


def test_a_file_comes_back_as_it_was_written(tmp_path):
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
        (b"id,rle_mask\n\xff\xfe,\n", "no text"),
    ],
)
def test_another_file_is_refused(tmp_path, content, found):
    (tmp_path / "masks.csv").write_bytes(content)
    with pytest.raises(WrongRunLengths, match=rf"masks\.csv: found .*{found}"):
        read_run_lengths(tmp_path / "masks.csv")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(WrongRunLengths, match=r"none\.csv: found No such file"):
        read_run_lengths(tmp_path / "none.csv")
