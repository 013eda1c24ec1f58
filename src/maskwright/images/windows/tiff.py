"""TIFF by window: which bytes hold the picture, and what its file says of it."""

import math
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from maskwright.images.errors import StackedImage, UnsupportedPixels
from maskwright.images.samples import MAX_PIXELS, decoding
from maskwright.images.tiff import axis_lengths, check_whole, damaged, only_picture, orientation_of, pictures, to_stored
from maskwright.images.windows.errors import NotWindowed
from maskwright.images.windows.file_source import FileSource, Samples
from maskwright.images.windows.georeference import Georeference
from maskwright.images.windows.pixels import Interpreter, check_bounds
from maskwright.images.windows.segments import Segments, segment_shape
from maskwright.images.windows.uncompressed import Flat
from maskwright.images.windows.whole_image import open_whole

_NODATA: Final = 42113  # a text, by GDAL
_LARGEST_SEGMENT: Final = 2**28  # bytes of a tile or strip, decoded


def open_tiff(file: Path) -> FileSource:
    """The picture of a TIFF, the first of an OME-TIFF; its largest level where it is a pyramid.

    Pixels are those of `read_image`, with one difference: a georeferenced image is never turned by an orientation,
    since its georeference speaks of the rows and columns in the file.

    Raises:
        DamagedImage, ImageTooLarge: its header cannot be read, or cannot be true.
        StackedImage, UnsupportedPixels: as for `read_image`.
        NotWindowed: it is too large for memory and in one piece.
    """
    import tifffile

    with ExitStack() as stack, decoding(file):
        tiff = stack.enter_context(tifffile.TiffFile(file))
        found = pictures(tiff)
        series = only_picture(file, found[:1] if tiff.is_ome else found)
        page = series.keyframe
        georeference = Georeference.of(page)
        if orientation_of(series) != 1 and georeference is None:
            return open_whole(file)
        lengths = axis_lengths(series)
        height, width = lengths["Y"], lengths["X"]
        channels = lengths.get("C", 1) * lengths.get("S", 1)
        check_bounds(file, height=height, width=width, channels=channels)
        _check_pages(file, tiff, series)
        interpreter = Interpreter(
            file,
            lambda samples: to_stored(samples, series),
            dtype=series.dtype,
            channels=channels,
            nodata=_nodata(page),
        )
        mask = _mask(file, tiff, page)  # before the samples, which may close the TIFF
        if mask is not None:
            stack.callback(mask.close)
        samples, block, windowed = _samples(file, tiff, series)
        if not windowed and height * width > MAX_PIXELS:
            samples.close()
            raise NotWindowed(
                file=file,
                found=f"{height} x {width} pixels in pieces of {block[0]} x {block[1]}",
                expected=f"tiles or strips of at most {_LARGEST_SEGMENT >> 20} MiB, so that it can be read by window",
                remedy="Save it in tiles: gdal_translate -co TILED=YES -co COMPRESS=DEFLATE, or tiffcp -t -c zip.",
            )
        stack.pop_all()
    return FileSource(file, samples, interpreter, height, width, block, windowed, georeference, mask=mask)


def _mask(file: Path, tiff: Any, page: Any) -> Segments | None:
    """The page that says which pixels of another are any, as GDAL writes it beside JPEG; it is of that one's size."""
    size = page.imagelength, page.imagewidth
    for series in tiff.series:
        found = series.keyframe
        if found.is_mask and not found.is_reduced and (found.imagelength, found.imagewidth) == size:
            _check_pages(file, tiff, series)
            rows, columns, channels = segment_shape(found)
            if rows * columns * channels > _LARGEST_SEGMENT:
                raise damaged(file, f"a mask in pieces of {rows} x {columns}", "pieces as small as the image's")
            return Segments(file, tiff, series)
    return None


def _samples(file: Path, tiff: Any, series: Any) -> tuple[Samples, tuple[int, int], bool]:
    """(samples, rows and columns of a piece, whether single pieces can be read)."""
    lengths = axis_lengths(series)
    height, width = lengths["Y"], lengths["X"]
    rows, columns, channels = segment_shape(series.keyframe)
    if series.dataoffset:
        shape = math.prod(series.shape) // (height * width * channels), height, width, channels
        dtype = series.dtype.newbyteorder(tiff.byteorder)
        flat = Flat(file, offset=series.dataoffset, shape=shape, dtype=dtype)
        tiff.close()
        return flat, (1, width), True
    block = rows, min(columns, width)
    small = rows * columns * channels * series.dtype.itemsize <= _LARGEST_SEGMENT
    return Segments(file, tiff, series), block, small and block != (height, width)


def _check_pages(file: Path, tiff: Any, series: Any) -> None:
    """Refuse a table of contents that cannot be that of the picture which the header announces."""
    if series.dtype is None:
        bits = series.keyframe.bitspersample
        raise UnsupportedPixels(
            file=file, found=f"samples of {bits} bits", expected="integers or floats", remedy="Convert the image."
        )
    if any(page is None or page.parent is not tiff for page in series.pages):
        raise StackedImage(
            file=file,
            found="channels in other files",
            expected="one file",
            remedy="Save all channels in one file.",
        )
    if min(segment_shape(series.keyframe)) < 1:
        raise damaged(file, "tiles of no size", "tiles of at least one pixel")
    expected = math.prod(series.keyframe.chunked)
    for page in series.pages:
        found = len(page.dataoffsets), len(page.databytecounts)
        if found != (expected, expected):
            raise damaged(file, f"{found[0]} offsets and {found[1]} sizes of tiles or strips", f"{expected} of each")
        if min(*page.dataoffsets, *page.databytecounts) < 0:
            raise damaged(file, "tiles or strips before the start of the file", "positions inside it")
    check_whole(file, series, tiff.filehandle.size)


def _nodata(page: Any) -> float | None:
    tag = page.tags.get(_NODATA)
    try:
        return None if tag is None else float(str(tag.value).strip("\0 "))
    except ValueError:  # a text that is no number: GDAL takes it for none
        return None
