"""Image, truth, prediction and mistakes side by side in one picture."""

from collections.abc import Iterable, Iterator, Sequence
from math import ceil
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from maskwright.errors import wrong_argument
from maskwright.images.labels import IGNORED, Colour, Label
from maskwright.images.overlay import HATCH, blended, class_pixels, hatched, overlay

FALSE_POSITIVE: Final[Colour] = (224, 58, 42)
MISSED: Final[Colour] = (38, 104, 224)
CONFUSED: Final[Colour] = (246, 190, 34)

_LEAST_SIDE, _GREATEST_SIDE = 300, 600  # pixels of a tile's longer side
_GAP, _LINE, _SWATCH, _CAPTION = 10, 22, 11, 90
_PAPER, _INK = (255, 255, 255), (40, 44, 52)

Entry = tuple[str, Colour]


def panel(image: np.ndarray, truth: np.ndarray, *, prediction: np.ndarray, labels: Sequence[Label]) -> np.ndarray:
    """One RGB picture, (height, width, 3) uint8: image | truth | prediction | mistakes, with captions and a legend.

    ``image`` is (h, w, 3) uint8, see `to_display`; ``truth`` and ``prediction`` (h, w) hold positions in ``labels``, or
    ``IGNORED``. A mistake is a false alarm (a class where there is background), missed (background where there is a
    class) or confused (one class for another); nothing is a mistake where ``truth`` is ignored. Small images are
    enlarged by a whole factor, large ones reduced.

    Raises:
        WrongArgument: shapes that differ, or an index that is in no label.
    """
    for name, indices in (("truth", truth), ("prediction", prediction)):
        if indices.shape != image.shape[:2]:
            raise wrong_argument(name, f"array of shape {indices.shape}", expected=f"shape {image.shape[:2]}")
    image, truth, prediction = _fitted(image, truth, prediction)
    marked, kinds = _mistakes(image, truth, prediction, labels)
    tiles = [image, overlay(image, truth, labels=labels), overlay(image, prediction, labels=labels), marked]
    present = set(np.unique(truth)) | set(np.unique(prediction))
    legend = [(label.name, label.colour) for i, label in enumerate(labels) if i in present and not label.background]
    ignored = [("ignored", HATCH)] if IGNORED in present else []
    return _laid_out(tiles, ("image", "truth", "prediction", "mistakes"), [*legend, *kinds, *ignored])


def _mistakes(
    image: np.ndarray, truth: np.ndarray, prediction: np.ndarray, labels: Sequence[Label]
) -> tuple[np.ndarray, list[Entry]]:
    """The mistakes over a pale gray copy of the image, and a legend of the kinds that occur."""
    wrong = (truth != prediction) & (truth != IGNORED)
    there, said = class_pixels(truth, labels), class_pixels(prediction, labels)
    kinds = {
        ("false alarm", FALSE_POSITIVE): wrong & said & ~there,
        ("missed", MISSED): wrong & there & ~said,
        ("confused", CONFUSED): wrong & there & said,
    }
    gray = np.asarray(Image.fromarray(image).convert("L"))[..., None]
    picture = (160 + gray * np.float32(0.35)).astype(np.uint8).repeat(3, axis=-1)
    for (_, colour), where in kinds.items():
        picture = blended(picture, np.array(colour), where=where, alpha=0.9)
    return hatched(picture, where=truth == IGNORED), [entry for entry, where in kinds.items() if where.any()]


def _fitted(image: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All three at the size of a tile; before anything is drawn, so that outlines stay one pixel wide."""
    side = max(image.shape[:2])
    factor = ceil(_LEAST_SIDE / side) if side < _LEAST_SIDE else min(1.0, _GREATEST_SIDE / side)
    height, width = (max(1, round(length * factor)) for length in image.shape[:2])
    nearest = np.ix_(np.arange(height) * image.shape[0] // height, np.arange(width) * image.shape[1] // width)
    if factor >= 1:
        return image[nearest], truth[nearest], prediction[nearest]
    small = Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(small), truth[nearest], prediction[nearest]


def _laid_out(tiles: Sequence[np.ndarray], captions: Sequence[str], legend: Iterable[Entry]) -> np.ndarray:
    font = ImageFont.load_default(14)
    height, width = tiles[0].shape[:2]
    step = max(width, _CAPTION) + _GAP
    total = len(tiles) * step + _GAP
    placed = list(_placed(legend, font, total))
    lines = 1 + max((line for line, *_ in placed), default=-1)
    page = Image.new("RGB", (total, _LINE + height + _GAP + lines * _LINE + (_GAP if lines else 0)), _PAPER)
    draw = ImageDraw.Draw(page)
    for index, (tile, caption) in enumerate(zip(tiles, captions, strict=True)):
        left = _GAP + index * step
        draw.text((left, _LINE / 2), caption, fill=_INK, font=font, anchor="lm")
        page.paste(Image.fromarray(tile), (left, _LINE))
    for line, left, (name, colour) in placed:
        middle = _LINE + height + _GAP + line * _LINE + _LINE // 2
        top = middle - _SWATCH // 2
        draw.rectangle((left, top, left + _SWATCH, top + _SWATCH), fill=colour, outline=_INK)
        draw.text((left + _SWATCH + 6, middle), name, fill=_INK, font=font, anchor="lm")
    return np.array(page)


def _placed(
    legend: Iterable[Entry], font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int
) -> Iterator[tuple[int, int, Entry]]:
    """(line, left, entry) of every legend entry, wrapped to the width of the page."""
    line, left = 0, _GAP
    for name, colour in legend:
        needed = _SWATCH + 6 + round(font.getlength(name)) + 2 * _GAP
        if left > _GAP and left + needed > width:
            line, left = line + 1, _GAP
        yield line, left, (name, colour)
        left += needed
