"""Implementation of `Source` for all file formats, based on a reader of the stored samples."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self, final

import numpy as np

from maskwright.errors import wrong_argument
from maskwright.images.errors import ImageFault
from maskwright.images.round_up import round_up
from maskwright.images.windows.errors import UnreadableWindow
from maskwright.images.windows.georeference import Georeference, PixelSize
from maskwright.images.windows.pixels import PixelConverter, check_bounds


class SampleReader(Protocol):
    """A reader of the samples stored in one file format."""

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """Return the samples (h, w, c) of a window in native byte order, as a new array.

        Raise `UnreadableWindow` if a part of the window is unreadable, or any other exception if the whole window is.
        """
        ...

    def close(self) -> None:
        """Close the file."""
        ...


@final
@dataclass
class FileSource:
    """An open image that implements `maskwright.images.windows.source.Source`."""

    file: Path
    samples: SampleReader
    converter: PixelConverter
    height: int
    width: int
    block: tuple[int, int]
    windowed: bool = True
    georeference: Georeference | None = None
    pixel_size: PixelSize | None = None
    mask: SampleReader | None = None
    """Reader of one channel that is 0 for invalid pixels; None if all pixels are valid."""

    def __post_init__(self) -> None:
        self.channels = self.converter.channels
        self.dtype = self.converter.dtype
        self.nodata = self.converter.nodata
        check_bounds(self.file, height=self.height, width=self.width, channels=self.channels)

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """Return the pixels (h, w, channels) of a window.

        Raises:
            WrongArgument: The window is empty or not inside the image.
            UnreadableWindow: The pixels cannot be read; see `Source.read`.
        """
        _check_inside("rows", rows, self.height)
        _check_inside("columns", columns, self.width)
        with reading(self.file, *whole_blocks((rows, columns), self.block, (self.height, self.width))):
            samples = self.samples.read(rows, columns)
        with reading(self.file, rows, columns):
            return self.converter(samples)

    def valid(self, rows: slice, columns: slice) -> np.ndarray:
        """Return which pixels of a window are valid; see `Source.valid`."""
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

    def __exit__(self, *exception: object) -> None:
        self.close()


@contextmanager
def reading(file: Path, rows: slice, columns: slice) -> Iterator[None]:
    """Convert any error raised in the ``with`` block to an error that names the part of the image.

    Raises:
        UnreadableWindow: The block raised any exception except `UnreadableWindow` and `MemoryError`.
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
    """Extend a window to whole blocks within an image of ``size``, so that all reports of a damaged block are equal.

    >>> whole_blocks((slice(3, 9), slice(20, 30)), (8, 16), (50, 30))
    (slice(0, 16, None), slice(16, 30, None))
    """
    rows, columns = (
        slice(part.start // step * step, min(round_up(part.stop, step), length))
        for part, step, length in zip(window, block, size, strict=True)
    )
    return rows, columns


def _check_inside(argument: str, part: slice, length: int) -> None:
    start, stop, step = part.start, part.stop, part.step
    if start is None or stop is None or step not in (None, 1) or not 0 <= start < stop <= length:
        raise wrong_argument(argument, part, expected=f"slice(start, stop) with 0 <= start < stop <= {length}")
