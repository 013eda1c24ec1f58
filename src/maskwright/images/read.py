"""Read the pixels of images and the values of masks, and determine the sizes of both."""

import os
from pathlib import Path
from typing import Final

import numpy as np

from maskwright.images.errors import (
    NotAnImage,
    UnreadableImage,
    UnsupportedPixels,
    WrongMask,
)
from maskwright.images.files import WINDOWED_REMEDY, is_zarr
from maskwright.images.orientation import upright
from maskwright.images.raster import raster_size, read_raster
from maskwright.images.raw_image import RawImage
from maskwright.images.tiff import SIGNATURES, read_tiff, tiff_size

NPY: Final = b"\x93NUM"
"""First four bytes of NumPy files."""

_INT32 = np.iinfo(np.int32)


def read_image(path: str | Path) -> np.ndarray:
    """Read a PNG, JPEG, BMP, WebP, GIF or TIFF file as (h, w, c) uint8, uint16 or float32.

    The format is detected from the content, not from the name. The EXIF orientation is applied. Gray images have 1
    channel, gray images with alpha 2, RGB images 3 and RGB images with alpha 4; a TIFF may have any number of channels.
    Samples of 1, 2 or 4 bits are scaled to 0 to 255. Palettes are converted to RGB, or to RGBA if they are partly
    transparent, and CMYK JPEGs are converted to RGB. Floats are converted to float32, as are signed integers and
    integers of more than 16 bits if the conversion is exact. Only the first frame of an animation is read.

    Raises:
        UnreadableImage, NotAnImage, DamagedImage: The file is missing or cannot be decoded.
        ImageTooLarge: The image has more than ``MAX_PIXELS`` pixels according to its header.
        StackedImage: A TIFF contains several images or has a depth or time axis.
        UnsupportedPixels: The pixel type or colour space cannot be converted exactly, or a pixel is NaN or infinite.
    """
    file = Path(path)
    raw = _read_raw(file)
    return np.ascontiguousarray(upright(to_pixels(file, raw), raw.orientation))


def read_mask(path: str | Path) -> np.ndarray:
    """Read the values of a mask: (h, w) uint8, uint16 or int32, or (h, w, 3) uint8 colours.

    Values are not scaled: palette images yield palette indices, 1-bit files yield 0 and 1, and 4-bit files yield 0 to
    15. Integral floats and other integers are converted to int32. If three channels are equal everywhere, only one is
    returned. An opaque alpha channel is removed. The EXIF orientation is applied.

    Raises:
        WrongMask: The mask has fractional values, transparency, 16-bit colours, values beyond 32 bits, or an
            unsupported number of channels.
        ImageFault: The file cannot be read; see `read_image`.
    """
    return read_mask_and_palette(path)[0]


def read_mask_and_palette(path: str | Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Read the values of a mask as `read_mask` does, and the palette colours of indices 0 to k - 1, (k, 3) uint8.

    For a file without a palette, the colours are None.

    Raises:
        WrongMask, ImageFault: The mask is invalid or cannot be read; see `read_mask`.
    """
    file = Path(path)
    raw = _read_raw(file)
    palette = None if raw.palette is None else raw.palette[:, :3]
    values = _opaque(file, upright(raw.samples, raw.orientation))
    if values.shape[2] == 3 and (values[..., :1] == values).all():
        values = values[..., :1]
    if values.shape[2] == 1:
        return np.ascontiguousarray(_ids(file, values[..., 0])), palette
    if values.shape[2] == 3 and values.dtype == np.uint8:
        return np.ascontiguousarray(values), palette
    raise WrongMask(
        file=file,
        found=f"{values.shape[2]} channels of {values.dtype}",
        expected="one channel of class ids, or 8-bit RGB colours",
        remedy="Save the mask as a single-channel PNG.",
    )


def image_size(path: str | Path) -> tuple[int, int]:
    """Return the (height, width) of the upright image from its header, without decoding pixels.

    Raises:
        ImageFault: The header cannot be read, or the image is too large; see `read_image`.
    """
    file = Path(path)
    return tiff_size(file) if first_bytes(file) in SIGNATURES else raster_size(file)


def first_bytes(file: Path) -> bytes:
    """Return the first four bytes of a file, which identify its format.

    Raises:
        UnreadableImage: The file is missing or unreadable.
        NotAnImage: The file is empty, or the path is a folder.
    """
    expected = "an image file"
    if os.path.isdir(file):  # noqa: PTH112  Path.is_dir raises for invalid names
        remedy = WINDOWED_REMEDY if is_zarr(file) else "Give the files in the folder."
        raise NotAnImage(file=file, found="a folder", expected=expected, remedy=remedy)
    try:
        with file.open("rb") as stream:
            start = stream.read(4)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # ValueError: a NUL in the name
        raise UnreadableImage(file=file, found="no such file", expected=expected, remedy="Check the path.") from error
    except OSError as error:
        raise UnreadableImage(
            file=file,
            found=error.strerror,
            expected="a readable file",
            remedy="Check the path and its permissions.",
        ) from error
    if not start:
        raise NotAnImage(file=file, found="an empty file", expected=expected, remedy="Copy or export it again.")
    return start


def to_pixels(file: Path, raw: RawImage) -> np.ndarray:
    """Convert stored samples to the pixels of `read_image`, before orientation; ``file`` is used in error messages.

    Raises:
        UnsupportedPixels: The samples cannot be converted exactly; see `read_image`.
    """
    samples, bits = raw.samples, raw.bits
    if raw.palette is not None:
        colours = np.zeros((2**bits, raw.palette.shape[1]), np.uint8)  # indices beyond the palette are black
        colours[: len(raw.palette)] = raw.palette
        return colours[samples[..., 0]]
    if bits < 8:
        return (samples * np.uint16(255) // np.uint16(2**bits - 1)).astype(np.uint8)
    if samples.dtype in (np.uint8, np.uint16):
        return samples
    return _floats(file, samples)


def _read_raw(file: Path) -> RawImage:
    start = first_bytes(file)
    if start == NPY:
        raise NotAnImage(file=file, found="a NumPy array", expected="an image file", remedy=WINDOWED_REMEDY)
    return read_tiff(file) if start in SIGNATURES else read_raster(file)


def _floats(file: Path, samples: np.ndarray) -> np.ndarray:
    if samples.dtype.kind not in "iuf":
        raise UnsupportedPixels(
            file=file, found=f"pixels of {samples.dtype}", expected="integers or floats", remedy="Convert the image."
        )
    with np.errstate(over="ignore"):  # values beyond the range of float32 become infinite and raise an error below
        floats = samples.astype(np.float32)
    if samples.dtype.kind != "f" and not np.array_equal(floats.astype(np.float64), samples):
        raise UnsupportedPixels(
            file=file,
            found=f"{samples.dtype} values from {samples.min()} to {samples.max()}",
            expected="integers that are exact in 32-bit floats, up to 16777216",
            remedy="Scale the image to 16 bits.",
        )
    if non_finite := samples.size - int(np.isfinite(floats).sum()):
        raise UnsupportedPixels(
            file=file,
            found=f"{non_finite} of {samples.size} values that are NaN, infinite or beyond 32-bit floats",
            expected="finite pixels",
            remedy="Replace them with a finite value, such as the minimum of the image.",
        )
    return floats


def _opaque(file: Path, values: np.ndarray) -> np.ndarray:
    """Remove an opaque alpha channel, which is the last of two or four channels."""
    if values.shape[2] not in (2, 4):
        return values
    opaque = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1
    if transparent := int((values[..., -1] != opaque).sum()):
        raise WrongMask(
            file=file,
            found=f"{transparent} transparent pixels",
            expected="a mask without transparency",
            remedy="Fill the transparent pixels and save the mask without an alpha channel.",
        )
    return values[..., :-1]


def _ids(file: Path, values: np.ndarray) -> np.ndarray:
    if values.dtype in (np.uint8, np.uint16):
        return values
    integral = values.dtype.kind in "iu" or (values.dtype.kind == "f" and bool((values == np.rint(values)).all()))
    if not integral or values.min() < _INT32.min or values.max() > _INT32.max:
        raise WrongMask(
            file=file,
            found=f"{values.dtype} values from {values.min()} to {values.max()}"
            + ("" if integral else " with fractions"),
            expected="integers of at most 32 bits",
            remedy="Save the mask as 8-bit or 16-bit class ids.",
        )
    return values.astype(np.int32)
