"""The mistakes an image file can hold; every one says which file, what was found, what was expected and what to do."""

from maskwright.errors import InputError


class ImageFault(InputError):
    """Any file, or any pixels of a file, that cannot be used."""

    text = "{file}: found {found}; expected {expected}. {remedy}"


class MissingImage(ImageFault):
    """No file of that name."""


class NotAnImage(ImageFault):
    """A folder, an empty file, or bytes of a format that is not read here."""


class UnreadableImage(ImageFault):
    """A file that the operating system does not let us read."""


class DamagedImage(ImageFault):
    """A file that starts like an image and cannot be decoded to its end."""


class ImageTooLarge(ImageFault):
    """A header that announces more pixels than are read at once."""


class StackedImage(ImageFault):
    """Several pictures in one file: pages, a time series, a volume."""


class UnsupportedPixels(ImageFault):
    """Pixels whose numbers have no place in 8-bit, 16-bit or 32-bit float images."""


class NonFinitePixels(ImageFault):
    """NaN or infinity among the pixels of a float image."""


class WrongMask(ImageFault):
    """Pixels that cannot be class ids or class colours."""


class WrongChannels(ImageFault):
    """An image whose channels are not those asked for."""
