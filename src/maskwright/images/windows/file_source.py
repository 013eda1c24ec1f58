"""The one implementation of `Source`: samples of some format, and what they mean."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self, final

import numpy as np

from maskwright.errors import wrong_argument
from maskwright.images.errors import ImageFault
from maskwright.images.windows.errors import UnreadableWindow
from maskwright.images.windows.georeference import Georeference, PixelSize
from maskwright.images.windows.pixels import Interpreter, check_bounds


class Samples(Protocol):
    """What a format has to offer: samples (h, w, c) of a window, as they are stored, in the machine's byte order."""

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """A new array; raises `UnreadableWindow` for a part, or anything for all of it."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


@final
@dataclass
class FileSource:
    """An open image; see `maskwright.images.windows.Source`, which it is."""

    file: Path
    samples: Samples
    interpreter: Interpreter
    height: int
    width: int
    block: tuple[int, int]
    windowed: bool = True
    georeference: Georeference | None = None
    pixel_size: PixelSize | None = None
    mask: Samples | None = None
    """One channel, 0 where the image has no pixel; None: it has all."""

    def __post_init__(self) -> None:
        self.channels = self.interpreter.channels
        self.dtype = self.interpreter.dtype
        self.nodata = self.interpreter.nodata
        check_bounds(self.file, height=self.height, width=self.width, channels=self.channels)

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """The pixels (h, w, channels) of a window.

        Raises:
            WrongArgument: it is empty or not inside the image.
            UnreadableWindow: as `Source.read` says.
        """
        _check_inside("rows", rows, self.height)
        _check_inside("columns", columns, self.width)
        with reading(self.file, *whole_blocks((rows, columns), self.block, (self.height, self.width))):
            samples = self.samples.read(rows, columns)
        with reading(self.file, rows, columns):
            return self.interpreter(samples)

    def valid(self, rows: slice, columns: slice) -> np.ndarray:
        """Which pixels of a window the file's own mask leaves, as `Source.valid` says."""
        _check_inside("rows", rows, self.height)
        _check_inside("columns", columns, self.width)
        if self.mask is None:
            return np.ones((rows.stop - rows.start, columns.stop - columns.start), np.bool_)
        with reading(self.file, *whole_blocks((rows, columns), self.block, (self.height, self.width))):
            return self.mask.read(rows, columns)[..., 0] != 0

    def close(self) -> None:
        """Close the file."""
        self.samples.close()
        if self.mask is not None:
            self.mask.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()


@contextmanager
def reading(file: Path, rows: slice, columns: slice) -> Iterator[None]:
    """Turn whatever goes wrong with a part of an image into the one error that says which.

    Raises:
        UnreadableWindow: the block raised anything but this and want of memory.
    """
    try:
        yield
    except (UnreadableWindow, MemoryError):
        raise
    except Exception as error:
        reason = f"bytes that cannot be decoded ({str(error).strip().rstrip('.') or type(error).__name__})"
        found = error.fields["found"] if isinstance(error, ImageFault) else reason
        raise UnreadableWindow(file=file, rows=rows, columns=columns, found=found) from error


def whole_blocks(window: tuple[slice, slice], block: tuple[int, int], size: tuple[int, int]) -> tuple[slice, slice]:
    """The blocks that a window touches, as far as they lie in an image of ``size``: one fault has one name.

    >>> whole_blocks((slice(3, 9), slice(20, 30)), (8, 16), (50, 30))
    (slice(0, 16, None), slice(16, 30, None))
    """
    rows, columns = (
        slice(part.start // step * step, min(-(-part.stop // step) * step, length))
        for part, step, length in zip(window, block, size, strict=True)
    )
    return rows, columns


def _check_inside(argument: str, part: slice, length: int) -> None:
    start, stop, step = part.start, part.stop, part.step
    if start is None or stop is None or step not in (None, 1) or not 0 <= start < stop <= length:
        raise wrong_argument(argument, part, expected=f"slice(start, stop) with 0 <= start < stop <= {length}")
