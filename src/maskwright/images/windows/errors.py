"""Errors in images that are read window by window, and in results that are written tile by tile."""

from maskwright.errors import InputError
from maskwright.images.errors import ImageFault


class UnreadableWindow(InputError):
    """A window of an image that cannot be read; the rest of the image may be readable.

    The fields are ``file``, ``rows`` and ``columns`` (the slices of the damaged part, often one tile) and ``found``
    (the problem that was found).
    """

    text = (
        "{file}: rows {rows.start} to {rows.stop}, columns {columns.start} to {columns.stop}: found {found}; "
        "expected decodable, finite pixels. Copy or export the image again."
    )


class WrongAxes(ImageFault):
    """An array whose axes do not describe a single image."""


class UnsupportedCodec(ImageFault):
    """A Zarr array with a codec that is not allowed for untrusted files."""


class WrongTiles(InputError):
    """Tiles whose number, shape or type does not match the result."""

    text = "{file}: found {found}; expected {expected}."
