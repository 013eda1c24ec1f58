"""Errors in image files; each message names the file, what was found, what was expected and what to do."""

from maskwright.errors import InputError


class ImageFault(InputError):
    """A file, or its pixels, that cannot be used."""

    text = "{file}: found {found}; expected {expected}. {remedy}"


class NotAnImage(ImageFault):
    """A folder without an image, an empty file or a file of an unsupported format."""


class UnreadableImage(ImageFault):
    """A file that does not exist or may not be read."""


class DamagedImage(ImageFault):
    """An image file that cannot be decoded completely."""


class ImageTooLarge(ImageFault):
    """An image with more pixels than can be read at once, and that cannot be read window by window."""


class StackedImage(ImageFault):
    """A file of several images: pages, a time series or a volume."""


class UnsupportedPixels(ImageFault):
    """Pixels that cannot be represented as 8-bit, 16-bit or finite 32-bit float values."""


class WrongMask(ImageFault):
    """Pixels that are neither class ids nor class colours."""


class WrongChannels(ImageFault):
    """An image that cannot be converted to the expected number of channels without loss."""
