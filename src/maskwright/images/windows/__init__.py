"""Images too large for memory: read by window, written tile by tile."""

from maskwright.images.windows.errors import NotWindowed, NotWritten, UnreadableWindow
from maskwright.images.windows.georeference import Georeference, PixelSize
from maskwright.images.windows.polygons import write_polygons
from maskwright.images.windows.source import Source, identity, open_source
from maskwright.images.windows.write_tiff import write_tiff
from maskwright.images.windows.write_zarr import write_zarr

__all__ = [
    "Georeference",
    "NotWindowed",
    "NotWritten",
    "PixelSize",
    "Source",
    "UnreadableWindow",
    "identity",
    "open_source",
    "write_polygons",
    "write_tiff",
    "write_zarr",
]
