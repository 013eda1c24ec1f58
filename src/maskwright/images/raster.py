"""PNG, JPEG, BMP, WebP and GIF: headers, palettes and faults by Pillow.

The pixels of plain PNGs come from imagecodecs: of 8 bits because it takes half of Pillow's time, of 16 because Pillow
keeps 8 bits of colours.
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
from maskwright.images.orientation import TAG, known, upright_size
from maskwright.images.samples import Stored, check_size, decoding

# Opened by their own classes, not by Image.open: it warns of sizes that are allowed here, and a warning cannot be
# kept quiet for one thread alone.
_FORMATS: Final[dict[bytes, type[ImageFile]]] = {
    b"\x89PNG\r\n\x1a\n": PngImagePlugin.PngImageFile,
    b"\xff\xd8\xff": JpegImagePlugin.JpegImageFile,
    b"BM": BmpImagePlugin.BmpImageFile,
    b"GIF8": GifImagePlugin.GifImageFile,
    b"RIFF": WebPImagePlugin.WebPImageFile,
}
_PNG_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_QUICK: Final = (0, 2, 6)  # gray, RGB and RGBA, which libspng gives as they are


def raster_size(file: Path) -> tuple[int, int]:
    """(height, width) after orientation, from the header."""
    with _opened(file) as (image, stream):
        return upright_size(image.height, image.width, _orientation(image, stream))


def read_raster(file: Path) -> Stored:
    """The pixels of the first frame; a colour key of a PNG is a colour like any other and not an alpha channel.

    Raises:
        NotAnImage: the first bytes are of no format read here.
        ImageTooLarge, DamagedImage: see `check_size` and `decoding`.
    """
    with _opened(file) as (image, stream):
        orientation = _orientation(image, stream)
        bits, colour_type = _png_depth(image, stream)
        if bits == 16:
            return Stored(_decoded_16_bits(stream)[..., : _PNG_CHANNELS[colour_type]], 16, orientation)
        if bits == 8 and colour_type in _QUICK and (samples := _decoded_8_bits(stream, image.size)) is not None:
            return Stored(samples, 8, orientation)
        image.load()
        if image.mode in ("P", "PA"):
            return Stored(_samples(image)[..., :1], 8, orientation, _palette(image))
        if image.mode == "1":
            return Stored(_samples(image).astype(np.uint8), 1, orientation)
        if image.mode not in ("L", "LA", "RGB", "RGBA"):
            return Stored(_samples(image.convert("RGB")), 8, orientation)
        if image.mode == "L" and bits < 8:  # Pillow has spread 2 or 4 bits over 0 to 255
            return Stored(_samples(image) // (255 // (2**bits - 1)), bits, orientation)
        return Stored(_samples(image), 8, orientation)


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
                remedy="Whatever its name says, its content is something else: export it in one of these formats.",
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
        # Pillow would decode all pixels to look for it behind them.
        image.info["exif"] = _png_exif(stream)
    try:
        return known(image.getexif().get(TAG))
    except (SyntaxError, ValueError, struct.error):  # viewers show a picture whose EXIF block is broken, and so do we
        return 1


def _png_exif(stream: IO[bytes]) -> bytes:
    """The eXIf block of a PNG, wherever it stands, found by stepping over the other blocks."""
    stream.seek(8)
    while len(head := stream.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if name == b"eXIf":
            return stream.read(length)
        stream.seek(length + 4, os.SEEK_CUR)
    return b""


def _png_depth(image: ImageFile, stream: IO[bytes]) -> tuple[int, int]:
    """(bits of a sample, colour type) of a PNG; (8, -1) for every other format."""
    if not isinstance(image, PngImagePlugin.PngImageFile):
        return 8, -1
    stream.seek(24)  # signature 8, length and name 8, width and height 8
    bits, colour_type = stream.read(2)
    return bits, colour_type


def _decoded_16_bits(stream: IO[bytes]) -> np.ndarray:
    import imagecodecs

    stream.seek(0)
    return _with_channels(imagecodecs.png_decode(stream.read()))


def _decoded_8_bits(stream: IO[bytes], size: tuple[int, int]) -> np.ndarray | None:
    """The samples of a whole PNG of 8 bits; None of one that Pillow shall look at, and say what is wrong with it."""
    import imagecodecs

    stream.seek(16)
    if struct.unpack(">II", stream.read(8)) != size:  # a second header, which only Pillow heeds
        return None
    stream.seek(0)
    try:
        return _with_channels(imagecodecs.spng_decode(stream.read()))
    except (RuntimeError, ValueError):  # libspng's own are the former
        return None
