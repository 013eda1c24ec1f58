"""Errors of both folder and large-image prediction."""

from maskwright.errors import InputError


class ImageChanged(InputError):
    """An image whose file was written while it was read."""

    text = "{file}: changed while it was read, so nothing of it is kept; predict it again once it is written."
