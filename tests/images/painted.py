"""Files written by hand or by other libraries, never by the code under test."""

import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

COLOUR_TYPE = {"gray": 0, "rgb": 2, "palette": 3, "gray+alpha": 4, "rgb+alpha": 6}


def block(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_header(height: int, width: int, *, bits: int, kind: str) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, COLOUR_TYPE[kind], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + block(b"IHDR", header)


def png(
    path: Path,
    rows: Iterable[bytes],
    *,
    size: tuple[int, int],
    bits: int,
    kind: str,
    before: bytes = b"",
    after: bytes = b"",
) -> Path:
    """A PNG (ISO/IEC 15948) of packed rows, with optional chunks before and after the pixels."""
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = png_header(*size, bits=bits, kind=kind), before, block(b"IDAT", pixels), after, block(b"IEND", b"")
    path.write_bytes(b"".join(parts))
    return path


def png_16(path: Path, samples: np.ndarray, *, kind: str, after: bytes = b"") -> Path:
    rows = [row.astype(">u2").tobytes() for row in samples]
    return png(path, rows, size=samples.shape[:2], bits=16, kind=kind, after=after)


def saved(path: Path, pixels: np.ndarray | Image.Image, **options: Any) -> Path:
    """Pixels written by Pillow."""
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    picture.save(path, **options)
    return path


def noise(*shape: int, dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def smooth(height: int, width: int) -> np.ndarray:
    """An RGB image that JPEG changes by only a few levels."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 255 / height, columns * 255 / width, (rows + columns) * 127 / (height + width)], -1).astype(
        np.uint8
    )
