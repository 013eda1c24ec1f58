"""Masks as run-lengths, the text that competitions exchange: "3 2 9 1" for pixels 3, 4 and 9.

Pixels are counted from 1, down the first column, then the second, and so on; a run is its first pixel and its length.
It is the format of Kaggle's TGS salt identification challenge. A CSV file has a line of it for each image.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import InputError
from maskwright.images.write import atomic_path

HEADER: Final = ("id", "rle_mask")
"""The columns of a file of masks."""

_MOST_BYTES: Final = 2**30


class WrongRunLengths(InputError):
    """Text that is not the run-lengths of a mask of the size it should have."""

    text = "{source}: found {found}; expected {expected}."


def encode_runs(mask: NDArray[np.generic]) -> str:
    """The run-lengths of all pixels of a mask (h, w) that are not 0: in order, as few as possible; "" for none.

    >>> encode_runs(np.array([[0, 1], [1, 1], [1, 0]]))
    '2 4'
    """
    pixels = np.zeros(mask.size + 2, np.int8)
    pixels[1:-1] = (mask != 0).ravel(order="F")
    starts, ends = np.flatnonzero(np.diff(pixels)).reshape(-1, 2).T
    return " ".join(map(str, np.stack([starts + 1, ends - starts], axis=1).ravel().tolist()))


def decode_runs(text: str, size: tuple[int, int], *, source: str | Path = "run-lengths") -> NDArray[np.bool_]:
    """The mask (height, width) whose pixels are those of the runs.

    Args:
        text: Run-lengths.
        size: Height and width in pixels.
        source: Where the text is from, for the error.

    Raises:
        WrongRunLengths: Something else than pairs of whole numbers above 0, a run past the end, or one that begins
            before the last one's end.

    >>> decode_runs("2 4", (3, 2)).astype(int).tolist()
    [[0, 1], [1, 1], [1, 0]]
    """
    height, width = size
    words = text.split()
    try:
        numbers = np.array([int(word) for word in words if word.isascii() and word.isdecimal()], np.int64)
    except (OverflowError, ValueError):  # of more digits than Python reads
        numbers = np.zeros(0, np.int64)
    if len(numbers) != len(words) or len(words) % 2 or (numbers < 1).any():
        raise WrongRunLengths(
            source=source, found=repr(_short(text)), expected="pairs of whole numbers above 0: start and length"
        )
    starts, lengths = numbers.reshape(-1, 2).T
    ends = starts + lengths  # of no pixel any more
    past = (starts > height * width) | (lengths > height * width) | (ends > height * width + 1)
    if past.any():
        start, length = numbers.reshape(-1, 2)[past.argmax()].tolist()
        found = f"a run past the end, {start} {length}"
        raise WrongRunLengths(source=source, found=found, expected=f"pixels up to {height * width}, {height} x {width}")
    early = starts[1:] < ends[:-1]
    if early.any():
        start = int(starts[1:][early.argmax()])
        found = f"a run that begins at {start}, before the end of the one before it"
        raise WrongRunLengths(source=source, found=found, expected="runs in order, none over another")
    steps = np.zeros(height * width + 1, np.int8)
    steps[starts - 1] += 1
    np.subtract.at(steps, ends - 1, 1)
    return np.cumsum(steps[:-1], dtype=np.int8).astype(bool).reshape(size, order="F")


def read_run_lengths(file: str | Path) -> dict[str, str]:
    """The run-lengths, not yet decoded, of every id in a CSV file with the columns ``id`` and ``rle_mask``.

    Raises:
        WrongRunLengths: The file is missing, too large or no text, has other columns, or an id twice.
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
        raise WrongRunLengths(source=file, found="an empty file", expected=f"a first line {','.join(HEADER)}")
    del masks[HEADER[0]]
    return masks


def write_run_lengths(file: str | Path, masks: Iterable[tuple[str, str]]) -> None:
    """Write ids with their run-lengths as such a CSV file, in the order given; whole or not at all."""
    with atomic_path(file) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as text:
        text.write(",".join(HEADER) + "\n")
        text.writelines(f"{name},{runs}\n" for name, runs in masks)


def _short(text: str) -> str:
    return text if len(text) < 40 else f"{text[:37]}..."


def _rows(file: Path) -> Iterator[tuple[str, ...]]:
    try:
        if file.stat().st_size > _MOST_BYTES:
            found = f"{file.stat().st_size} bytes"
            raise WrongRunLengths(source=file, found=found, expected=f"at most {_MOST_BYTES}")
        with file.open(encoding="utf-8-sig", newline=None) as lines:
            for line in lines:
                if line.strip():
                    yield tuple(cell.strip().strip('"') for cell in line.split(","))
    except UnicodeDecodeError:
        raise WrongRunLengths(source=file, found="bytes that are no text", expected="a CSV file in UTF-8") from None
    except OSError as error:
        raise WrongRunLengths(source=file, found=error.strerror, expected="a CSV file") from None
