"""Read TIFF files with integers or floats of 1 to 64 bits, any number of channels, and common compressions."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from maskwright.images.errors import DamagedImage, StackedImage, UnsupportedPixels
from maskwright.images.orientation import ORIENTATION_TAG, upright_size, valid_orientation
from maskwright.images.raw_image import RawImage, check_size, decoding

SIGNATURES: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6
_JPEG: Final = (6, 7)  # compressions whose decoder converts YCbCr to RGB


def tiff_size(file: Path) -> tuple[int, int]:
    """Return the (height, width) of the oriented image from the file header."""
    with _opened(file) as series:
        lengths = axis_lengths(series)
        return upright_size(lengths["Y"], lengths["X"], orientation_of(series))


def read_tiff(file: Path) -> RawImage:
    """Read the only image of a TIFF with interleaved or planar samples, and return it with the channels last.

    Raises:
        StackedImage: The file contains several images or has a depth or time axis.
        UnsupportedPixels: The colour space, such as CMYK or Lab, requires a conversion.
        ImageTooLarge: The image has too many pixels; see `check_size`.
        DamagedImage: The file cannot be decoded; see `decoding`.
    """
    with _opened(file) as series:
        samples = series.asarray()
        if samples.shape != series.shape:  # tifffile returns only the pixels that it could decode
            raise damaged(file, f"pixels of shape {samples.shape}", f"shape {series.shape}, from its header")
        samples = np.moveaxis(samples, _channel_axis(series), -1) if samples.ndim == 3 else samples[..., None]
        return to_raw_image(samples, series)


def image_series(tiff: Any) -> list[Any]:
    """Return the image series of an open TIFF file, without thumbnails, pyramid levels and masks."""
    return [series for series in tiff.series if not (series.keyframe.is_reduced or series.keyframe.is_mask)]


def single_series(file: Path, found: list[Any]) -> Any:
    """Return the only series of ``found`` after checking its axes and samples, but not its size.

    Raises:
        DamagedImage, StackedImage, UnsupportedPixels: The series is not a single valid image; see `read_tiff`.
    """
    if not found:
        raise damaged(file, "a TIFF header without an image", "an image")
    if len(found) > 1:
        raise _stacked(file, f"{len(found)} images")
    (series,) = found
    if sorted(series.axes) not in (["X", "Y"], ["C", "X", "Y"], ["S", "X", "Y"]):
        sizes = ", ".join(f"{axis} {length}" for axis, length in axis_lengths(series).items())
        raise _stacked(file, f"axes {sizes}")
    _check_samples(file, series.keyframe)
    return series


def axis_lengths(series: Any) -> dict[str, int]:
    """Return the length of each axis: Y, X and, for an image with channels, C or S."""
    return dict(zip(series.axes, series.shape, strict=True))


def orientation_of(series: Any) -> int:
    """Return the EXIF orientation of a series, 1 to 8."""
    tag = series.keyframe.tags.get(ORIENTATION_TAG)
    return valid_orientation(tag and int(tag.value))


def to_raw_image(samples: np.ndarray, series: Any) -> RawImage:
    """Add the bit depth, orientation and palette of the file to samples (h, w, c) decoded by tifffile.

    White-is-zero samples are inverted, as the format requires, except in files written by tifffile, which stores
    boolean arrays as white-is-zero without inverting them.
    """
    page = series.keyframe
    bits = page.bitspersample
    if samples.dtype == bool:
        samples = samples.astype(np.uint8)
    if page.photometric == _WHITE_IS_ZERO and not page.is_shaped and samples.dtype.kind == "u":
        samples = samples ^ samples.dtype.type(2**bits - 1)
    palette = _palette(page.colormap) if page.photometric == _PALETTE else None
    return RawImage(samples, bits, orientation_of(series), palette)


def check_whole(file: Path, series: Any, size: int) -> None:
    """Check that a file of ``size`` bytes contains all segments (strips or tiles) that its header lists.

    Some codecs fill in missing data without an error.

    Raises:
        DamagedImage: A segment (strip or tile) extends beyond the end of the file.
    """
    segments = (zip(page.dataoffsets, page.databytecounts, strict=False) for page in series.pages)
    end = max((offset + count for page in segments for offset, count in page), default=0)
    if end > size:
        raise damaged(file, f"{size} bytes", f"the {end} bytes that its header lists")


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """Open a TIFF and yield its only image series after checking its size and length."""
    import tifffile

    with decoding(file), tifffile.TiffFile(file) as tiff:
        series = single_series(file, image_series(tiff))
        lengths = axis_lengths(series)
        channels = lengths.get("C", 1) * lengths.get("S", 1)
        check_size(file, height=lengths["Y"], width=lengths["X"], channels=channels)
        check_whole(file, series, tiff.filehandle.size)
        yield series


def _channel_axis(series: Any) -> int:
    return next(index for index, axis in enumerate(series.axes) if axis in "CS")


def _palette(colormap: np.ndarray) -> np.ndarray:
    """Convert a colormap (3, k) uint16 to (k, 3) uint8; some programs store 8-bit values in it."""
    return (colormap.T if colormap.max() < 256 else colormap.T >> 8).astype(np.uint8)


def _stacked(file: Path, found: str) -> StackedImage:
    return StackedImage(
        file=file,
        found=found,
        expected="one image of one or more channels",
        remedy="Save each image to a separate file; if the pages are channels, set the axes CYX in the metadata.",
    )


def _check_samples(file: Path, page: Any) -> None:
    expected, remedy = "gray, RGB or palette colours", "Export it as RGB."
    plain = page.photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE)
    if not plain and not (page.photometric == _YCBCR and page.compression in _JPEG):
        space = getattr(page.photometric, "name", page.photometric)
        raise UnsupportedPixels(file=file, found=f"the colour space {space}", expected=expected, remedy=remedy)
    if not isinstance(page.bitspersample, int):
        bits = ", ".join(map(str, page.bitspersample))
        raise UnsupportedPixels(file=file, found=f"channels of {bits} bits", expected=expected, remedy=remedy)


def damaged(file: Path, found: str, expected: str) -> DamagedImage:
    """Return the error for an inconsistent or truncated file."""
    return DamagedImage(
        file=file, found=found, expected=expected, remedy="The file is truncated or damaged: copy or export it again."
    )
