"""What every decoder hands over: pixels as the file stores them, within bounds, or one clear error."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from maskwright.errors import InputError
from maskwright.images.errors import DamagedImage, ImageTooLarge

MAX_PIXELS: Final = 2**27
"""Most pixels (height x width) read from one file: 11585 x 11585."""

_MAX_SAMPLES: Final = 4 * MAX_PIXELS


@dataclass(frozen=True)
class Stored:
    """Pixels as a file stores them, before anything is scaled, coloured or turned."""

    samples: np.ndarray
    """(h, w, c); indices, with c = 1, where there is a palette."""
    bits: int
    """Bits of each sample in the file: 1, 2 and 4 are unpacked into uint8 without scaling."""
    orientation: int
    """EXIF orientation, 1 to 8."""
    palette: np.ndarray | None = None
    """(k, 3 or 4) uint8 colours of the indices, if any."""


def check_size(file: Path, *, height: int, width: int, channels: int) -> None:
    """Refuse what a header announces before a byte of it is decoded or room is made for it.

    Raises:
        ImageTooLarge: more pixels than ``MAX_PIXELS``, or more samples than four times as many.
    """
    if height * width > MAX_PIXELS or height * width * channels > _MAX_SAMPLES:
        raise too_large(file, f"{height} x {width} pixels of {channels} channels")


def too_large(file: Path, found: str) -> ImageTooLarge:
    """The error for a file whose header announces ``found``."""
    return ImageTooLarge(
        file=file,
        found=found,
        expected=f"at most {MAX_PIXELS} pixels and {_MAX_SAMPLES} samples",
        remedy="Cut it into smaller images; to predict it by window, name one file for the result: --out mask.tif.",
    )


@contextmanager
def decoding(file: Path) -> Iterator[None]:
    """Turn whatever a decoder raises into one error that names the file.

    A decoder that is given broken bytes may raise anything, so everything is caught but our own errors and want of
    memory, which is no fault of the file.

    Raises:
        DamagedImage: the decoder failed.
        ImageTooLarge: the decoder itself refused the size.
    """
    try:
        yield
    except (InputError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise too_large(file, str(error)) from error
    except Exception as error:
        raise DamagedImage(
            file=file,
            found=f"bytes that cannot be decoded ({str(error).strip().rstrip('.') or type(error).__name__})",
            expected="a whole image",
            remedy="It is truncated or damaged: copy or export it again.",
        ) from error
