"""The mistakes that only show in images read by window, and in results written tile by tile."""

from maskwright.errors import InputError
from maskwright.images.errors import ImageFault


class UnreadableWindow(InputError):
    """A part of an image that cannot be read; the rest may be whole.

    Fields: ``file``, ``rows`` and ``columns`` (slices of the part at fault, often one tile), ``found``.
    """

    text = (
        "{file}: rows {rows.start} to {rows.stop}, columns {columns.start} to {columns.stop}: found {found}; "
        "expected whole, finite pixels. Copy or export the image again."
    )


class NotWindowed(ImageFault):
    """An image too large for memory, kept in a way that lets no part of it be read alone."""


class WrongAxes(ImageFault):
    """An array whose axes are not those of one picture."""


class RefusedCodec(ImageFault):
    """A Zarr array packed by something that is not run here."""


class NoSuchArray(ImageFault):
    """A Zarr group that does not say which of its arrays is the picture."""


class WrongTiles(InputError):
    """Tiles of a result that do not fill it."""

    text = "{file}: found {found}; expected {expected}."
