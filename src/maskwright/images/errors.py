"""Errors in image files; each message states the file, what was found, what was expected and what to do."""

from maskwright.errors import InputError


class ImageFault(InputError):
    """An image file that is invalid or contains invalid pixels."""

    text = "{file}: found {found}; expected {expected}. {remedy}"


class NotAnImage(ImageFault):
    """A path that is a folder, an empty file or a file in an unsupported format."""


class UnreadableImage(ImageFault):
    """A file that does not exist or cannot be read."""


class DamagedImage(ImageFault):
    """An image file that cannot be decoded completely."""


class ImageTooLarge(ImageFault):
    """An image that is too large to be read at once and cannot be read window by window."""


class StackedImage(ImageFault):
    """A file that contains several images, such as pages, a time series or a volume."""


class UnsupportedPixels(ImageFault):
    """Pixels that cannot be represented as 8-bit integers, 16-bit integers or finite 32-bit floats."""


class WrongMask(ImageFault):
    """A mask whose pixels are neither class ids nor class colours."""


class WrongChannels(ImageFault):
    """An image that cannot be converted to the expected number of channels without loss."""
