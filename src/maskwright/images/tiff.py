"""TIFF: 1 to 64 bits, integers and floats, any number of channels, strips and tiles, the usual compressions."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from maskwright.images.errors import DamagedImage, StackedImage, UnsupportedPixels
from maskwright.images.orientation import TAG, known, upright_size
from maskwright.images.samples import Stored, check_size, decoding

SIGNATURES: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6
_JPEG: Final = (6, 7)  # compressions whose decoder turns YCbCr into RGB


def tiff_size(file: Path) -> tuple[int, int]:
    """(height, width) after orientation, from the header."""
    with _opened(file) as series:
        lengths = axis_lengths(series)
        return upright_size(lengths["Y"], lengths["X"], orientation_of(series))


def read_tiff(file: Path) -> Stored:
    """The pixels of the one picture in the file; channels go last, whether the file keeps them so or by planes.

    Raises:
        StackedImage: several pictures, times or depths.
        UnsupportedPixels: CMYK, Lab and other colours that need a conversion.
        ImageTooLarge, DamagedImage: see `check_size` and `decoding`.
    """
    with _opened(file) as series:
        samples = series.asarray()
        if samples.shape != series.shape:  # it returns what it could decode
            raise damaged(file, f"pixels of shape {samples.shape}", f"shape {series.shape}, as its header says")
        samples = np.moveaxis(samples, _channel_axis(series), -1) if samples.ndim == 3 else samples[..., None]
        return to_stored(samples, series)


def pictures(tiff: Any) -> list[Any]:
    """The series of pages of an open tifffile that are pictures: no thumbnail, level of a pyramid or mask."""
    return [series for series in tiff.series if not (series.keyframe.is_reduced or series.keyframe.is_mask)]


def only_picture(file: Path, found: list[Any]) -> Any:
    """The one series of ``found``, if its axes and samples are those of one image; its size is not checked here.

    Raises:
        DamagedImage, StackedImage, UnsupportedPixels: as for `read_tiff`.
    """
    if not found:
        raise damaged(file, "a TIFF header and no picture", "a picture")
    if len(found) > 1:
        raise _stacked(file, f"{len(found)} pictures")
    (series,) = found
    if sorted(series.axes) not in (["X", "Y"], ["C", "X", "Y"], ["S", "X", "Y"]):
        sizes = ", ".join(f"{axis} {length}" for axis, length in axis_lengths(series).items())
        raise _stacked(file, f"axes {sizes}")
    _check_samples(file, series.keyframe)
    return series


def axis_lengths(series: Any) -> dict[str, int]:
    """The length of each axis: Y, X and, if there are channels, C or S."""
    return dict(zip(series.axes, series.shape, strict=True))


def orientation_of(series: Any) -> int:
    """EXIF orientation, 1 to 8."""
    tag = series.keyframe.tags.get(TAG)
    return known(tag and int(tag.value))


def to_stored(samples: np.ndarray, series: Any) -> Stored:
    """Samples (h, w, c) as tifffile gives them, with what the file says of their meaning.

    White-is-zero samples are inverted, as the format demands, but not where tifffile wrote them: it marks boolean
    arrays so and means their values as they are.
    """
    page = series.keyframe
    bits = page.bitspersample
    if samples.dtype == bool:
        samples = samples.astype(np.uint8)
    if page.photometric == _WHITE_IS_ZERO and not page.is_shaped and samples.dtype.kind == "u":
        samples = samples ^ samples.dtype.type(2**bits - 1)
    palette = _palette(page.colormap) if page.photometric == _PALETTE else None
    return Stored(samples, bits, orientation_of(series), palette)


def check_whole(file: Path, series: Any, size: int) -> None:
    """Refuse a file of ``size`` bytes that is shorter than its own table of contents.

    Some codecs fill in what is missing without a word.

    Raises:
        DamagedImage: it is.
    """
    segments = (zip(page.dataoffsets, page.databytecounts, strict=False) for page in series.pages)
    end = max((offset + count for page in segments for offset, count in page), default=0)
    if end > size:
        raise damaged(file, f"{size} bytes", f"the {end} bytes that its table of contents lists")


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """The one series of pages that is the picture, checked against the bounds."""
    import tifffile

    with decoding(file), tifffile.TiffFile(file) as tiff:
        series = only_picture(file, pictures(tiff))
        lengths = axis_lengths(series)
        channels = lengths.get("C", 1) * lengths.get("S", 1)
        check_size(file, height=lengths["Y"], width=lengths["X"], channels=channels)
        check_whole(file, series, tiff.filehandle.size)
        yield series


def _channel_axis(series: Any) -> int:
    return next(index for index, axis in enumerate(series.axes) if axis in "CS")


def _palette(colormap: np.ndarray) -> np.ndarray:
    """(k, 3) uint8 from (3, k) uint16; some writers store 8-bit numbers there."""
    return (colormap.T if colormap.max() < 256 else colormap.T >> 8).astype(np.uint8)


def _stacked(file: Path, found: str) -> StackedImage:
    return StackedImage(
        file=file,
        found=found,
        expected="one picture of one or more channels",
        remedy="Save each picture as a file of its own; if its pages are channels, name the axes CYX in its metadata.",
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
    """The error for a file whose parts do not agree."""
    return DamagedImage(
        file=file, found=found, expected=expected, remedy="It is truncated or damaged: copy or export it again."
    )
