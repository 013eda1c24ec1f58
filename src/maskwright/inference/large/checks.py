"""Checks before a job starts: whether its files would replace others and whether the image can be processed."""

from math import ceil
from pathlib import Path
from typing import Final

import numpy as np

from maskwright.errors import InputError, wrong_argument
from maskwright.images.errors import ImageTooLarge
from maskwright.images.windows.source import Source
from maskwright.inference.bundle import Bundle
from maskwright.inference.large.journal import CompletionRecord, ForeignFolder, Journal, UnknownResult, content_digest
from maskwright.inference.tiling.window import opaque

_MAX_BLOCKS: Final = 10**6  # about 10^12 pixels


class WholeImagesOnly(InputError):
    """A request for prediction by windows with a network that requires whole images."""

    text = "{file}: this network needs the whole image ({found}); give a folder as --out to predict it whole."


def check_names(journal: Journal, *, image: Path, polygons: Path | None) -> None:
    """Check that no result replaces the image or another result.

    Raises:
        WrongArgument: Two of the paths are equal, or one is inside the other.
    """
    if _overlap(journal.out, image):
        expected = "another file than the image, neither inside it nor around it"
        raise wrong_argument("out", str(journal.out), expected=expected)
    if polygons and any(_overlap(polygons, file) for file in (image, *journal.files)):
        raise wrong_argument("polygons", str(polygons), expected="another file than the image and the result")


def check_outlines(polygons: Path, record: CompletionRecord | None, *, overwrite: bool) -> None:
    """Check that a file of outlines that would be replaced was made from the finished result.

    Raises:
        UnknownResult: The file was made from another result, and ``overwrite`` is false.
        ForeignFolder: The path of the outlines is a folder.
    """
    if polygons.is_dir():
        raise ForeignFolder(file=polygons)
    if polygons.exists() and not overwrite and not (record and record.outlines == content_digest(polygons)):
        raise UnknownResult(file=polygons)


def check_size(file: Path, source: Source, tile: int) -> None:
    """Check that an image has at most a million blocks of ``tile`` x ``tile`` pixels.

    Raises:
        ImageTooLarge: The image has more than a million blocks.
    """
    if ceil(source.height / tile) * ceil(source.width / tile) > _MAX_BLOCKS:
        raise ImageTooLarge(
            file=file,
            found=f"{source.height} x {source.width} pixels",
            expected=f"at most {_MAX_BLOCKS:,} blocks of {tile} x {tile}",
            remedy="Cut the image into smaller ones.",
        )


def check_kind(bundle: Bundle, source: Source, file: Path) -> None:
    """Check that the network accepts the data type and channels of the image and supports prediction by windows.

    Raises:
        WrongPixels: The network was not trained on the data type of the image.
        WrongChannels: The channels of the image cannot be converted without loss.
        WholeImagesOnly: The network requires the whole image at once.
    """
    if bundle.scale != 1 or bundle.coord_channels:
        found = "it uses coordinate channels" if bundle.coord_channels else f"it resizes images by {bundle.scale:g}"
        raise WholeImagesOnly(file=file, found=found)
    pixel = np.full((1, 1, source.channels), opaque(source.dtype), source.dtype)
    bundle.prepare(pixel, file=file)


def _overlap(one: Path, other: Path) -> bool:
    """Return whether two paths are equal or one is inside the other."""
    one, other = one.resolve(), other.resolve()
    return one.is_relative_to(other) or other.is_relative_to(one)
