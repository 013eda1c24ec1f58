"""The doors to image files: pixels of an image, values of a mask, and the size of either."""

import os
from pathlib import Path
from typing import Final

import numpy as np

from maskwright.images.errors import (
    MissingImage,
    NonFinitePixels,
    NotAnImage,
    UnreadableImage,
    UnsupportedPixels,
    WrongMask,
)
from maskwright.images.files import BY_WINDOW, is_zarr
from maskwright.images.orientation import upright
from maskwright.images.raster import raster_size, read_raster
from maskwright.images.samples import Stored
from maskwright.images.tiff import SIGNATURES, read_tiff, tiff_size

NPY: Final = b"\x93NUM"
"""The first bytes of NumPy's files."""

_INT32 = np.iinfo(np.int32)


def read_image(path: str | Path) -> np.ndarray:
    """The pixels of a PNG, JPEG, BMP, WebP, GIF or TIFF file: (h, w, c) of uint8, uint16 or float32.

    The format is told by the content, not by the name. The picture is turned upright by its EXIF orientation. Gray
    is 1 channel, gray with alpha 2, RGB 3, RGB with alpha 4; a TIFF may have any number. Samples of 1, 2 or 4 bits
    are spread over 0 to 255, palettes become RGB (RGBA if they are partly transparent), CMYK JPEGs RGB. Floats become
    float32; so do signed and wide integers, provided that none of them changes. Of an animation the first frame is
    read.

    Raises:
        MissingImage, UnreadableImage, NotAnImage, DamagedImage: there is no such image, or it cannot be decoded.
        ImageTooLarge: more than ``MAX_PIXELS`` pixels, known before any is decoded.
        StackedImage: a TIFF of several pictures, or with depth or time.
        UnsupportedPixels: numbers or colours that would be changed by reading them.
        NonFinitePixels: NaN or infinity, which would spread to everything computed from the image.
    """
    file = Path(path)
    stored = _stored(file)
    return np.ascontiguousarray(upright(to_pixels(file, stored), stored.orientation))


def read_mask(path: str | Path) -> np.ndarray:
    """The values of a mask: (h, w) of uint8, uint16 or int32, or (h, w, 3) of uint8 colours.

    Values are those stored: indices of a palette, 0 and 1 of 1-bit files, 0 to 15 of 4-bit ones. Whole floats and
    other integers become int32. Colours whose three channels are equal everywhere are one channel of values. An alpha
    channel is dropped if it is opaque. EXIF orientation is applied, as to images.

    Raises:
        WrongMask: fractions, transparency, 16-bit colours, values beyond 32 bits, or another number of channels.
        ImageFault: the file cannot be read; as for `read_image`.
    """
    return read_mask_and_palette(path)[0]


def read_mask_and_palette(path: str | Path) -> tuple[np.ndarray, np.ndarray | None]:
    """The values that `read_mask` gives, and the colours (k, 3) uint8 of the indices 0 to k - 1 of a palette file.

    The palette is None for a file without one.

    Raises:
        WrongMask, ImageFault: as for `read_mask`.
    """
    file = Path(path)
    stored = _stored(file)
    palette = None if stored.palette is None else stored.palette[:, :3]
    values = _opaque(file, upright(stored.samples, stored.orientation))
    if values.shape[2] == 3 and (values[..., :1] == values).all():
        values = values[..., :1]
    if values.shape[2] == 1:
        return np.ascontiguousarray(_ids(file, values[..., 0])), palette
    if values.shape[2] == 3 and values.dtype == np.uint8:
        return np.ascontiguousarray(values), palette
    raise WrongMask(
        file=file,
        found=f"{values.shape[2]} channels of {values.dtype}",
        expected="one channel of class ids, or RGB colours of 8 bits",
        remedy="Save the mask as a PNG of one channel.",
    )


def image_size(path: str | Path) -> tuple[int, int]:
    """(height, width) of the upright picture, from the header alone: no pixel is decoded.

    Raises:
        ImageFault: the header cannot be read or announces too much; as for `read_image`.
    """
    file = Path(path)
    return tiff_size(file) if first_bytes(file) in SIGNATURES else raster_size(file)


def first_bytes(file: Path) -> bytes:
    """The first four bytes of a file that is there, may be read and is not empty; they tell the format.

    Raises:
        MissingImage, UnreadableImage, NotAnImage: it is not.
    """
    expected = "an image file"
    if os.path.isdir(file):  # noqa: PTH112  Path.is_dir raises for names that no file can have
        remedy = BY_WINDOW if is_zarr(file) else "Give the files in it."
        raise NotAnImage(file=file, found="a folder", expected=expected, remedy=remedy)
    try:
        with file.open("rb") as stream:
            start = stream.read(4)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # ValueError: a NUL in the name
        raise MissingImage(
            file=file, found="nothing of that name", expected=expected, remedy="Check the spelling."
        ) from error
    except OSError as error:
        raise UnreadableImage(
            file=file,
            found=error.strerror,
            expected="a file that may be read",
            remedy="Check name and permissions.",
        ) from error
    if not start:
        raise NotAnImage(file=file, found="an empty file", expected=expected, remedy="Copy or export it again.")
    return start


def to_pixels(file: Path, stored: Stored) -> np.ndarray:
    """What a file stores as the pixels that `read_image` gives, not yet turned upright; ``file`` is named in errors.

    Raises:
        UnsupportedPixels, NonFinitePixels: as for `read_image`.
    """
    samples, bits = stored.samples, stored.bits
    if stored.palette is not None:
        colours = np.zeros((2**bits, stored.palette.shape[1]), np.uint8)  # indices past the palette's end are black
        colours[: len(stored.palette)] = stored.palette
        return colours[samples[..., 0]]
    if bits < 8:
        return (samples * np.uint16(255) // np.uint16(2**bits - 1)).astype(np.uint8)
    if samples.dtype in (np.uint8, np.uint16):
        return samples
    return _floats(file, samples)


def _stored(file: Path) -> Stored:
    start = first_bytes(file)
    if start == NPY:
        raise NotAnImage(file=file, found="a NumPy array", expected="an image file", remedy=BY_WINDOW)
    return read_tiff(file) if start in SIGNATURES else read_raster(file)


def _floats(file: Path, samples: np.ndarray) -> np.ndarray:
    if samples.dtype.kind not in "iuf":
        raise UnsupportedPixels(
            file=file, found=f"pixels of {samples.dtype}", expected="integers or floats", remedy="Convert the image."
        )
    with np.errstate(over="ignore"):  # a double beyond float32 becomes infinity, which is refused below
        floats = samples.astype(np.float32)
    if samples.dtype.kind != "f" and not np.array_equal(floats.astype(np.float64), samples):
        raise UnsupportedPixels(
            file=file,
            found=f"{samples.dtype} values from {samples.min()} to {samples.max()}",
            expected="integers that 32-bit floats can hold, up to 16777216",
            remedy="Scale the image to 16 bits.",
        )
    if bad := samples.size - int(np.isfinite(floats).sum()):
        raise NonFinitePixels(
            file=file,
            found=f"{bad} of {samples.size} values that are NaN, infinite or beyond 32-bit floats",
            expected="finite pixels",
            remedy="Replace them with a number, such as the least value of the image.",
        )
    return floats


def _opaque(file: Path, values: np.ndarray) -> np.ndarray:
    """``values`` without their alpha channel, the last of two or four."""
    if values.shape[2] not in (2, 4):
        return values
    full = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1
    if seen_through := int((values[..., -1] != full).sum()):
        raise WrongMask(
            file=file,
            found=f"{seen_through} transparent pixels",
            expected="a mask without transparency",
            remedy="Paint over the transparent parts, and save the mask without an alpha channel.",
        )
    return values[..., :-1]


def _ids(file: Path, values: np.ndarray) -> np.ndarray:
    if values.dtype in (np.uint8, np.uint16):
        return values
    whole = values.dtype.kind in "iu" or (values.dtype.kind == "f" and bool((values == np.rint(values)).all()))
    if not whole or values.min() < _INT32.min or values.max() > _INT32.max:
        raise WrongMask(
            file=file,
            found=f"{values.dtype} values from {values.min()} to {values.max()}" + ("" if whole else " with fractions"),
            expected="whole numbers of at most 32 bits",
            remedy="Save the mask as class ids of 8 or 16 bits.",
        )
    return values.astype(np.int32)
