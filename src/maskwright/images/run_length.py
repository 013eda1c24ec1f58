"""Encode masks as run lengths, such as "3 2 9 1" for pixels 3, 4 and 9, and decode run lengths.

Pixels are numbered from 1 in column-major order, and a run consists of its first pixel and its length. The TGS salt
identification challenge on Kaggle uses this format, in a CSV file with one line for each image.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import InputError
from maskwright.images.write import atomic_path

HEADER: Final = ("id", "rle_mask")
"""Names of the columns of the CSV file."""

_MAX_BYTES: Final = 2**30


class WrongRunLengths(InputError):
    """Run lengths that are invalid or belong to a mask of another size."""

    text = "{source}: found {found}; expected {expected}."


def encode_runs(mask: NDArray[np.generic]) -> str:
    """Encode the non-zero pixels of a mask (h, w) as the shortest list of runs, in order; "" if there are none.

    >>> encode_runs(np.array([[0, 1], [1, 1], [1, 0]]))
    '2 4'
    """
    pixels = np.zeros(mask.size + 2, np.int8)
    pixels[1:-1] = (mask != 0).ravel(order="F")
    starts, ends = np.flatnonzero(np.diff(pixels)).reshape(-1, 2).T
    return " ".join(map(str, np.stack([starts + 1, ends - starts], axis=1).ravel().tolist()))


def decode_runs(text: str, size: tuple[int, int], *, source: str | Path = "run lengths") -> NDArray[np.bool_]:
    """Decode run lengths to a boolean mask (height, width).

    Args:
        text: Run lengths separated by spaces.
        size: Height and width of the mask in pixels.
        source: Origin of the text, as named in the error message.

    Raises:
        WrongRunLengths: The text does not consist of pairs of positive integers, or a run exceeds the mask or overlaps
            the previous run.

    >>> decode_runs("2 4", (3, 2)).astype(int).tolist()
    [[0, 1], [1, 1], [1, 0]]
    """
    height, width = size
    tokens = text.split()
    try:
        numbers = np.array([int(token) for token in tokens if token.isascii() and token.isdecimal()], np.int64)
    except (OverflowError, ValueError):  # raised for more digits than Python can convert
        numbers = np.zeros(0, np.int64)
    if len(numbers) != len(tokens) or len(tokens) % 2 or (numbers < 1).any():
        raise WrongRunLengths(
            source=source, found=repr(_short(text)), expected="pairs of positive integers: start and length"
        )
    starts, lengths = numbers.reshape(-1, 2).T
    ends = starts + lengths  # exclusive
    beyond = (starts > height * width) | (lengths > height * width) | (ends > height * width + 1)
    if beyond.any():
        start, length = numbers.reshape(-1, 2)[beyond.argmax()].tolist()
        found = f"a run beyond the end, {start} {length}"
        raise WrongRunLengths(source=source, found=found, expected=f"pixels up to {height * width}, {height} x {width}")
    overlapping = starts[1:] < ends[:-1]
    if overlapping.any():
        start = int(starts[1:][overlapping.argmax()])
        found = f"a run at {start} that starts before the end of the previous one"
        raise WrongRunLengths(source=source, found=found, expected="ordered runs without overlap")
    steps = np.zeros(height * width + 1, np.int8)
    steps[starts - 1] += 1
    np.subtract.at(steps, ends - 1, 1)
    return np.cumsum(steps[:-1], dtype=np.int8).astype(bool).reshape(size, order="F")


def read_run_lengths(file: str | Path) -> dict[str, str]:
    """Read the run lengths (str) of every id in a CSV file with the columns ``id`` and ``rle_mask``.

    Raises:
        WrongRunLengths: The file is missing, is too large, is not text, or has other columns or a repeated id.
    """
    masks: dict[str, str] = {}
    for number, (name, *others) in enumerate(_rows(Path(file)), start=1):
        if len(others) != 1:
            raise WrongRunLengths(source=file, found=f"{1 + len(others)} columns in line {number}", expected="2")
        if number == 1 and (name, *others) != HEADER:
            raise WrongRunLengths(
                source=file, found=f"the columns {_short(name)},{_short(others[0])}", expected=",".join(HEADER)
            )
        if name in masks:
            raise WrongRunLengths(source=file, found=f"the id {name} twice", expected="each id once")
        masks[name] = others[0]
    if not masks:
        raise WrongRunLengths(source=file, found="an empty file", expected=f"the header {','.join(HEADER)}")
    del masks[HEADER[0]]
    return masks


def write_run_lengths(file: str | Path, masks: Iterable[tuple[str, str]]) -> None:
    """Write ids and their run lengths to a CSV file atomically, in the given order."""
    with atomic_path(file) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as text:
        text.write(",".join(HEADER) + "\n")
        text.writelines(f"{name},{runs}\n" for name, runs in masks)


def _short(text: str) -> str:
    return text if len(text) < 40 else f"{text[:37]}..."


def _rows(file: Path) -> Iterator[tuple[str, ...]]:
    try:
        if file.stat().st_size > _MAX_BYTES:
            found = f"{file.stat().st_size} bytes"
            raise WrongRunLengths(source=file, found=found, expected=f"at most {_MAX_BYTES}")
        with file.open(encoding="utf-8-sig", newline=None) as lines:
            for line in lines:
                if line.strip():
                    yield tuple(cell.strip().strip('"') for cell in line.split(","))
    except UnicodeDecodeError:
        raise WrongRunLengths(source=file, found="bytes that are not text", expected="a CSV file in UTF-8") from None
    except OSError as error:
        raise WrongRunLengths(source=file, found=error.strerror, expected="a CSV file") from None
