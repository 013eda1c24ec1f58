"""Where on Earth an image lies, and how large its pixels are: carried from an image to its result, never changed."""

from dataclasses import dataclass
from typing import Any, Final

# OGC GeoTIFF 1.1 (19-008r4), Annex G: pixel scale, tie points, transformation, keys, their doubles, their texts.
_TAGS: Final = (33550, 33922, 34264, 34735, 34736, 34737)


@dataclass(frozen=True)
class Georeference:
    """The GeoTIFF tags of an image as they stand in its file."""

    tags: tuple[tuple[int, int, int, Any], ...]
    """(code, TIFF data type, count, value) of each."""

    @classmethod
    def of(cls, page: Any) -> "Georeference | None":
        """What a tifffile page says, or None where it says nothing."""
        found = (page.tags.get(code) for code in _TAGS)
        tags = tuple((tag.code, int(tag.dtype), tag.count, tag.value) for tag in found if tag is not None)
        return cls(tags) if tags else None


@dataclass(frozen=True)
class PixelSize:
    """The physical size of a pixel, from OME metadata."""

    height: float
    width: float
    unit: str | None = None
    """A UDUNITS-2 name such as ``micrometer``; None where the file names none."""
