"""Georeferences and pixel sizes, which are copied unchanged from an image to its result."""

from dataclasses import dataclass
from typing import Any, Final

# OGC GeoTIFF 1.1 (19-008r4), Annex G: ModelPixelScale, ModelTiepoint, ModelTransformation, GeoKeyDirectory,
# GeoDoubleParams and GeoAsciiParams.
_TAGS: Final = (33550, 33922, 34264, 34735, 34736, 34737)


@dataclass(frozen=True)
class Georeference:
    """The GeoTIFF tags of an image, unchanged."""

    tags: tuple[tuple[int, int, int, Any], ...]
    """Tuples (code, TIFF data type, count, value), one for each tag."""

    @classmethod
    def of(cls, page: Any) -> "Georeference | None":
        """Return the georeference of a tifffile page, or None if it has no georeference tags."""
        found = (page.tags.get(code) for code in _TAGS)
        tags = tuple((tag.code, int(tag.dtype), tag.count, tag.value) for tag in found if tag is not None)
        return cls(tags) if tags else None


@dataclass(frozen=True)
class PixelSize:
    """The physical size of a pixel according to OME metadata."""

    height: float
    width: float
    unit: str | None = None
    """Unit as a UDUNITS-2 name, such as ``micrometer``; None if it is unknown."""
