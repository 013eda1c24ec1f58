"""Open TIFF files for reading window by window."""

import math
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from maskwright.images.errors import ImageTooLarge, StackedImage, UnsupportedPixels
from maskwright.images.raw_image import MAX_PIXELS, decoding
from maskwright.images.tiff import (
    axis_lengths,
    check_whole,
    damaged,
    image_series,
    orientation_of,
    single_series,
    to_raw_image,
)
from maskwright.images.windows.file_source import FileSource, SampleReader
from maskwright.images.windows.georeference import Georeference
from maskwright.images.windows.pixels import PixelConverter, check_bounds
from maskwright.images.windows.segments import SegmentReader, segment_shape
from maskwright.images.windows.uncompressed import UncompressedReader
from maskwright.images.windows.whole_image import open_whole

_NODATA_TAG: Final = 42113  # text tag defined by GDAL
_MAX_SEGMENT_BYTES: Final = 2**28  # maximum size of a decoded tile or strip


def open_tiff(file: Path) -> FileSource:
    """Open the image of a TIFF or the first image of an OME-TIFF, at full resolution if it is a pyramid.

    Pixels are those of `read_image`, except that the EXIF orientation of a georeferenced image is not applied, since
    the georeference refers to the stored rows and columns.

    Raises:
        DamagedImage: The header is unreadable or invalid.
        StackedImage, UnsupportedPixels: The file does not contain a single supported image; see `read_image`.
        ImageTooLarge: A side or the number of channels exceeds a limit, or the image is stored in one segment (strip or
            tile) and is too large for memory.
    """
    import tifffile

    with ExitStack() as stack, decoding(file):
        tiff = stack.enter_context(tifffile.TiffFile(file))
        found = image_series(tiff)
        series = single_series(file, found[:1] if tiff.is_ome else found)
        page = series.keyframe
        georeference = Georeference.of(page)
        if orientation_of(series) != 1 and georeference is None:
            return open_whole(file)
        lengths = axis_lengths(series)
        height, width = lengths["Y"], lengths["X"]
        channels = lengths.get("C", 1) * lengths.get("S", 1)
        check_bounds(file, height=height, width=width, channels=channels)
        _check_pages(file, tiff, series)
        converter = PixelConverter(
            file,
            lambda samples: to_raw_image(samples, series),
            dtype=series.dtype,
            channels=channels,
            nodata=_nodata(page),
        )
        mask = _mask(file, tiff, page)  # must precede the sample reader, which may close the TIFF
        if mask is not None:
            stack.callback(mask.close)
        samples, block, windowed = _samples(file, tiff, series)
        if not windowed and height * width > MAX_PIXELS:
            samples.close()
            raise ImageTooLarge(
                file=file,
                found=f"{height} x {width} pixels in segments of {block[0]} x {block[1]}",
                expected=f"tiles or strips of at most {_MAX_SEGMENT_BYTES >> 20} MiB, for reading window by window",
                remedy="Save it in tiles: gdal_translate -co TILED=YES -co COMPRESS=DEFLATE, or tiffcp -t -c zip.",
            )
        stack.pop_all()
    return FileSource(file, samples, converter, height, width, block, windowed, georeference, mask=mask)


def _mask(file: Path, tiff: Any, page: Any) -> SegmentReader | None:
    """Return a reader of the internal mask, which GDAL writes with JPEG compression, or None if there is no mask."""
    size = page.imagelength, page.imagewidth
    for series in tiff.series:
        found = series.keyframe
        if found.is_mask and not found.is_reduced and (found.imagelength, found.imagewidth) == size:
            _check_pages(file, tiff, series)
            rows, columns, channels = segment_shape(found)
            if rows * columns * channels > _MAX_SEGMENT_BYTES:
                raise damaged(
                    file, f"a mask in segments of {rows} x {columns}", "segments as small as those of the image"
                )
            return SegmentReader(file, tiff, series)
    return None


def _samples(file: Path, tiff: Any, series: Any) -> tuple[SampleReader, tuple[int, int], bool]:
    """Return a sample reader, the size of a strip or tile in pixels, and whether these can be read separately."""
    lengths = axis_lengths(series)
    height, width = lengths["Y"], lengths["X"]
    rows, columns, channels = segment_shape(series.keyframe)
    if series.dataoffset:
        shape = math.prod(series.shape) // (height * width * channels), height, width, channels
        dtype = series.dtype.newbyteorder(tiff.byteorder)
        flat = UncompressedReader(file, offset=series.dataoffset, shape=shape, dtype=dtype)
        tiff.close()
        return flat, (1, width), True
    block = rows, min(columns, width)
    small = rows * columns * channels * series.dtype.itemsize <= _MAX_SEGMENT_BYTES
    return SegmentReader(file, tiff, series), block, small and block != (height, width)


def _check_pages(file: Path, tiff: Any, series: Any) -> None:
    """Check that the lists of segments (strips or tiles) match the image size."""
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
            remedy="Save all channels to one file.",
        )
    if min(segment_shape(series.keyframe)) < 1:
        raise damaged(file, "tiles of size 0", "tiles of at least one pixel")
    expected = math.prod(series.keyframe.chunked)
    for page in series.pages:
        found = len(page.dataoffsets), len(page.databytecounts)
        if found != (expected, expected):
            raise damaged(file, f"{found[0]} offsets and {found[1]} sizes of tiles or strips", f"{expected} of each")
        if min(*page.dataoffsets, *page.databytecounts) < 0:
            raise damaged(file, "negative offsets of tiles or strips", "offsets inside the file")
    check_whole(file, series, tiff.filehandle.size)


def _nodata(page: Any) -> float | None:
    tag = page.tags.get(_NODATA_TAG)
    try:
        return None if tag is None else float(str(tag.value).strip("\0 "))
    except ValueError:  # like GDAL, ignore text that is not a number
        return None
