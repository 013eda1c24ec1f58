"""Pixels as stored in a file, with size limits and errors shared by all decoders."""

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
"""Largest number of pixels (height x width) that may be read from one file: 11585 x 11585."""

_MAX_SAMPLES: Final = 4 * MAX_PIXELS


@dataclass(frozen=True)
class RawImage:
    """Pixels as stored in a file, before scaling, palette lookup and rotation."""

    samples: np.ndarray
    """Samples (h, w, c), or palette indices (h, w, 1)."""
    bits: int
    """Number of bits per sample in the file; 1, 2 and 4 bits are unpacked to uint8 without scaling."""
    orientation: int
    """EXIF orientation, 1 to 8."""
    palette: np.ndarray | None = None
    """Palette colours, (k, 3 or 4) uint8, or None if the file has no palette."""


def check_size(file: Path, *, height: int, width: int, channels: int) -> None:
    """Check the image size in a file header before pixels are decoded or memory is allocated.

    Raises:
        ImageTooLarge: The number of pixels exceeds ``MAX_PIXELS``, or the number of samples exceeds four times
            ``MAX_PIXELS``.
    """
    if height * width > MAX_PIXELS or height * width * channels > _MAX_SAMPLES:
        raise too_large(file, f"{height} x {width} pixels of {channels} channels")


def too_large(file: Path, found: str) -> ImageTooLarge:
    """Return the error for a file whose header states the size ``found``."""
    return ImageTooLarge(
        file=file,
        found=found,
        expected=f"at most {MAX_PIXELS} pixels and {_MAX_SAMPLES} samples",
        remedy="Cut it into smaller images, or predict it window by window, with a file as the output: --out mask.tif.",
    )


@contextmanager
def decoding(file: Path) -> Iterator[None]:
    """Convert any error raised by a decoder to an error that names the file.

    Decoders may raise any exception for damaged data, so all exceptions except `InputError` and `MemoryError` are
    caught.

    Raises:
        DamagedImage: The file cannot be decoded.
        ImageTooLarge: The decoder rejects the size of the image.
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
            expected="a complete image",
            remedy="The file is truncated or damaged: copy or export it again.",
        ) from error
