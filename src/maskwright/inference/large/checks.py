"""What is refused before any work: names that would cost the user a file, and images that cannot be done."""

from math import ceil
from pathlib import Path
from typing import Final

import numpy as np

from maskwright.errors import InputError, wrong_argument
from maskwright.images.errors import ImageTooLarge
from maskwright.images.windows import Source
from maskwright.inference.large.block_grid import KEPT
from maskwright.inference.large.block_predictor import Predictor
from maskwright.inference.large.journal import Finished, ForeignFolder, Journal, UnknownResult, digest_of
from maskwright.inference.large.window import opaque

_MOST_BLOCKS: Final = 10**6  # about 10^12 pixels


class WholeImagesOnly(InputError):
    """An image to predict by windows, and a network that needs to know the whole."""

    text = "{file}: this network is one {found}, which windows do not show; give a folder as --out to predict it whole."


def refuse_names(journal: Journal, *, image: Path, polygons: Path | None) -> None:
    """Refuse names by which the image, or one of the results, would be written over, or change while it is read.

    Raises:
        WrongArgument: One is another's, or lies inside it.
    """
    if _meet(journal.out, image):
        expected = "another file than the image, neither inside it nor around it"
        raise wrong_argument("out", str(journal.out), expected=expected)
    if polygons and any(_meet(polygons, file) for file in (image, *journal.files)):
        raise wrong_argument("polygons", str(polygons), expected="another file than the image and the result")


def refuse_outlines(polygons: Path, finished: Finished | None, *, overwrite: bool) -> None:
    """Refuse to write over a file that was not made of the finished result.

    Raises:
        UnknownResult: ``overwrite`` is false, and there is one.
        ForeignFolder: It is a folder.
    """
    if polygons.is_dir():
        raise ForeignFolder(file=polygons)
    if polygons.exists() and not overwrite and not (finished and finished.outlines == digest_of(polygons)):
        raise UnknownResult(file=polygons)


def refuse_size(file: Path, source: Source) -> None:
    """Refuse an image of more blocks than can be kept track of.

    Raises:
        ImageTooLarge: There are more than a million.
    """
    if ceil(source.height / KEPT) * ceil(source.width / KEPT) > _MOST_BLOCKS:
        raise ImageTooLarge(
            file=file,
            found=f"{source.height} x {source.width} pixels",
            expected=f"at most {_MOST_BLOCKS:,} blocks of {KEPT} x {KEPT}",
            remedy="Cut the image into smaller ones.",
        )


def refuse_kind(predictor: Predictor) -> None:
    """Refuse an image of other pixels or channels than the network was trained on, or a network of whole images.

    Raises:
        WrongPixels, WrongChannels, WholeImagesOnly: It is one.
    """
    bundle = predictor.engine.bundle
    if bundle.scale != 1 or bundle.position:
        found = (
            "of where pixels lie in the whole" if bundle.position else f"of images at {bundle.scale:g} of their size"
        )
        raise WholeImagesOnly(file=predictor.file, found=found)
    source = predictor.source
    pixel = np.full((1, 1, source.channels), opaque(source.dtype), source.dtype)
    predictor.engine.bundle.prepare(pixel, file=predictor.file)


def _meet(one: Path, other: Path) -> bool:
    """Whether these are one file, or one of them lies inside the other."""
    one, other = one.resolve(), other.resolve()
    return one.is_relative_to(other) or other.is_relative_to(one)
