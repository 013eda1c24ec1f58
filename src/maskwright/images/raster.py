"""Read PNG, JPEG, BMP, WebP and GIF files with Pillow.

Most PNGs are decoded by imagecodecs, which reads 8-bit PNGs twice as fast as Pillow and does not reduce 16-bit colour
PNGs to 8 bits.
"""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import numpy as np
from PIL import BmpImagePlugin, GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin
from PIL.ImageFile import ImageFile

from maskwright.images.errors import NotAnImage
from maskwright.images.orientation import ORIENTATION_TAG, upright_size, valid_orientation
from maskwright.images.raw_image import RawImage, check_size, decoding

# Files are opened by these classes and not by Image.open, which warns about large images that are allowed here.
# Warnings cannot be suppressed in one thread only.
_FORMATS: Final[dict[bytes, type[ImageFile]]] = {
    b"\x89PNG\r\n\x1a\n": PngImagePlugin.PngImageFile,
    b"\xff\xd8\xff": JpegImagePlugin.JpegImageFile,
    b"BM": BmpImagePlugin.BmpImageFile,
    b"GIF8": GifImagePlugin.GifImageFile,
    b"RIFF": WebPImagePlugin.WebPImageFile,
}
_PNG_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_SPNG_COLOUR_TYPES: Final = (0, 2, 6)  # gray, RGB and RGBA, which libspng decodes without conversion


def raster_size(file: Path) -> tuple[int, int]:
    """Return the (height, width) of the oriented image from the file header."""
    with _opened(file) as (image, stream):
        return upright_size(image.height, image.width, _orientation(image, stream))


def read_raster(file: Path) -> RawImage:
    """Read the first frame of a file; the colour key of a PNG is not converted to an alpha channel.

    Raises:
        NotAnImage: The first bytes do not match a supported format.
        ImageTooLarge: The image has too many pixels; see `check_size`.
        DamagedImage: The file cannot be decoded; see `decoding`.
    """
    with _opened(file) as (image, stream):
        orientation = _orientation(image, stream)
        bits, colour_type = _png_depth(image, stream)
        if bits == 16:
            return RawImage(_decoded_16_bits(stream)[..., : _PNG_CHANNELS[colour_type]], 16, orientation)
        if (
            bits == 8
            and colour_type in _SPNG_COLOUR_TYPES
            and (samples := _decoded_8_bits(stream, image.size)) is not None
        ):
            return RawImage(samples, 8, orientation)
        image.load()
        if image.mode in ("P", "PA"):
            return RawImage(_samples(image)[..., :1], 8, orientation, _palette(image))
        if image.mode == "1":
            return RawImage(_samples(image).astype(np.uint8), 1, orientation)
        if image.mode not in ("L", "LA", "RGB", "RGBA"):
            return RawImage(_samples(image.convert("RGB")), 8, orientation)
        if image.mode == "L" and bits < 8:  # Pillow has scaled 2-bit or 4-bit values to 0 to 255
            return RawImage(_samples(image) // (255 // (2**bits - 1)), bits, orientation)
        return RawImage(_samples(image), 8, orientation)


@contextmanager
def _opened(file: Path) -> Iterator[tuple[ImageFile, IO[bytes]]]:
    with file.open("rb") as stream, decoding(file):
        start = stream.read(16)
        stream.seek(0)
        opener = next((opener for magic, opener in _FORMATS.items() if start.startswith(magic)), None)
        if opener is None:
            raise NotAnImage(
                file=file,
                found=f"a file that starts with {start!r}",
                expected="a PNG, JPEG, BMP, WebP, GIF or TIFF image",
                remedy="The content does not match the file suffix: export the image in one of these formats.",
            )
        image = opener(stream, str(file))
        check_size(file, height=image.height, width=image.width, channels=len(image.getbands()))
        yield image, stream


def _samples(image: Image.Image) -> np.ndarray:
    return _with_channels(np.array(image))


def _with_channels(samples: np.ndarray) -> np.ndarray:
    return samples[..., None] if samples.ndim == 2 else samples


def _palette(image: Image.Image) -> np.ndarray:
    image.apply_transparency()
    mode = "RGBA" if image.palette is not None and image.palette.mode == "RGBA" else "RGB"
    return np.array(image.getpalette(mode), np.uint8).reshape(-1, len(mode))


def _orientation(image: ImageFile, stream: IO[bytes]) -> int:
    if isinstance(image, PngImagePlugin.PngImageFile) and "exif" not in image.info:
        # To find an eXIf chunk after the pixels, Pillow would decode all of them.
        image.info["exif"] = _png_exif(stream)
    try:
        return valid_orientation(image.getexif().get(ORIENTATION_TAG))
    except (SyntaxError, ValueError, struct.error):  # like image viewers, ignore a broken EXIF block
        return 1


def _png_exif(stream: IO[bytes]) -> bytes:
    """Return the content of the eXIf chunk of a PNG, found by skipping other chunks."""
    stream.seek(8)
    while len(header := stream.read(8)) == 8:
        length, name = struct.unpack(">I4s", header)
        if name == b"eXIf":
            return stream.read(length)
        stream.seek(length + 4, os.SEEK_CUR)
    return b""


def _png_depth(image: ImageFile, stream: IO[bytes]) -> tuple[int, int]:
    """Return (bits per sample, colour type) of a PNG, and (8, -1) for other formats."""
    if not isinstance(image, PngImagePlugin.PngImageFile):
        return 8, -1
    stream.seek(24)  # signature (8 bytes), chunk length and name (8), width and height (8)
    bits, colour_type = stream.read(2)
    return bits, colour_type


def _decoded_16_bits(stream: IO[bytes]) -> np.ndarray:
    import imagecodecs

    stream.seek(0)
    return _with_channels(imagecodecs.png_decode(stream.read()))


def _decoded_8_bits(stream: IO[bytes], size: tuple[int, int]) -> np.ndarray | None:
    """Decode an 8-bit PNG; return None for damaged or unusual files, which must be read by Pillow."""
    import imagecodecs

    stream.seek(16)
    if struct.unpack(">II", stream.read(8)) != size:  # a second header, which only Pillow supports
        return None
    stream.seek(0)
    try:
        return _with_channels(imagecodecs.spng_decode(stream.read()))
    except (RuntimeError, ValueError):  # libspng raises RuntimeError for damaged files
        return None
