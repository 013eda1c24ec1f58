"""Errors common to the prediction of folders and of large images."""

from maskwright.errors import InputError


class ImageChanged(InputError):
    """An image whose file was modified while it was being read."""

    text = "{file}: changed while it was read, so its result was discarded; predict it again once it is complete."
