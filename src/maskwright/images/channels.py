"""Convert images between gray and RGB without loss of information."""

from pathlib import Path
from typing import Final

import numpy as np

from maskwright.images.errors import WrongChannels

_NAMES: Final = {1: "gray", 2: "gray with alpha", 3: "RGB", 4: "RGB with alpha"}


def to_channels(image: np.ndarray, channels: int, *, file: str | Path) -> np.ndarray:
    """Convert ``image`` (h, w, c) to ``channels`` channels, (h, w, channels), without changing its values.

    Gray becomes RGB by repetition, RGB with three equal channels becomes gray, and an alpha channel that is opaque
    everywhere is removed. ``file`` is the path of the image, which is named in the error message.

    Raises:
        WrongChannels: The image cannot be converted to ``channels`` channels without loss.

    >>> to_channels(np.array([[[7]]], "uint8"), 3, file="cell.png").tolist()
    [[[7, 7, 7]]]
    """
    found = image.shape[-1]
    if found == channels:
        return image
    if found in (2, 4) and channels in (1, 3):
        return to_channels(_without_alpha(image, channels, file), channels, file=file)
    if (found, channels) == (1, 3):
        return np.repeat(image, 3, axis=-1)
    if (found, channels) == (3, 1) and (image == image[..., :1]).all():
        return image[..., :1]
    remedy = "Convert the image, or train a network for its number of channels."
    raise _error(image, channels, file, remedy)


def _without_alpha(image: np.ndarray, channels: int, file: str | Path) -> np.ndarray:
    opaque = 1 if image.dtype.kind == "f" else np.iinfo(image.dtype).max
    if (image[..., -1] == opaque).all():
        return image[..., :-1]
    raise _error(image, channels, file, "Save the image without transparency.")


def _error(image: np.ndarray, channels: int, file: str | Path, remedy: str) -> WrongChannels:
    return WrongChannels(file=file, found=_described(image.shape[-1]), expected=_described(channels), remedy=remedy)


def _described(channels: int) -> str:
    count = "1 channel" if channels == 1 else f"{channels} channels"
    return f"{count} ({_NAMES[channels]})" if channels in _NAMES else count
