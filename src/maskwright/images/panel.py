"""Draw the image, ground truth, prediction and errors of one example side by side."""

from collections.abc import Iterable, Iterator, Sequence
from math import ceil
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from maskwright.errors import wrong_argument
from maskwright.images.labels import IGNORED, Colour, Label
from maskwright.images.overlay import HATCH, blended, class_pixels, hatched, overlay

FALSE_POSITIVE: Final[Colour] = (224, 58, 42)
FALSE_NEGATIVE: Final[Colour] = (38, 104, 224)
CONFUSED: Final[Colour] = (246, 190, 34)

_MIN_TILE_SIDE, _MAX_TILE_SIDE = 300, 600  # length in pixels of the longer side of a tile
_GAP, _LINE_HEIGHT, _SWATCH, _CAPTION_WIDTH = 10, 22, 11, 90  # pixels
_PAPER, _INK = (255, 255, 255), (40, 44, 52)

Entry = tuple[str, Colour]


def panel(image: np.ndarray, truth: np.ndarray, *, prediction: np.ndarray, labels: Sequence[Label]) -> np.ndarray:
    """Return an RGB picture, (h, w, 3) uint8, of image, ground truth, prediction and errors with captions and a legend.

    ``image`` is (h, w, 3) uint8 (see `to_display`); ``truth`` and ``prediction`` (h, w) are indices into ``labels``, or
    ``IGNORED``. Errors are false positives (a class instead of background), false negatives (background instead of a
    class) and confused classes (one class instead of another); pixels ignored in ``truth`` are not errors. Small
    images are enlarged by an integer factor, and large images are reduced.

    Raises:
        WrongArgument: The shapes differ, or an index has no label.
    """
    for name, indices in (("truth", truth), ("prediction", prediction)):
        if indices.shape != image.shape[:2]:
            raise wrong_argument(name, f"array of shape {indices.shape}", expected=f"shape {image.shape[:2]}")
    image, truth, prediction = _resized(image, truth, prediction)
    errors, kinds = _errors(image, truth, prediction, labels)
    tiles = [image, overlay(image, truth, labels=labels), overlay(image, prediction, labels=labels), errors]
    present = set(np.unique(truth)) | set(np.unique(prediction))
    legend = [(label.name, label.colour) for i, label in enumerate(labels) if i in present and not label.background]
    ignored = [("ignored", HATCH)] if IGNORED in present else []
    return _page(tiles, ("image", "truth", "prediction", "errors"), [*legend, *kinds, *ignored])


def _errors(
    image: np.ndarray, truth: np.ndarray, prediction: np.ndarray, labels: Sequence[Label]
) -> tuple[np.ndarray, list[Entry]]:
    """Return a pale gray copy of the image with the errors drawn over it, and a legend of the errors that occur."""
    wrong = (truth != prediction) & (truth != IGNORED)
    is_class, is_predicted = class_pixels(truth, labels), class_pixels(prediction, labels)
    kinds = {
        ("false positive", FALSE_POSITIVE): wrong & is_predicted & ~is_class,
        ("false negative", FALSE_NEGATIVE): wrong & is_class & ~is_predicted,
        ("confused", CONFUSED): wrong & is_class & is_predicted,
    }
    gray = np.asarray(Image.fromarray(image).convert("L"))[..., None]
    picture = (160 + gray * np.float32(0.35)).astype(np.uint8).repeat(3, axis=-1)
    for (_, colour), where in kinds.items():
        picture = blended(picture, np.array(colour), where=where, alpha=0.9)
    return hatched(picture, where=truth == IGNORED), [entry for entry, where in kinds.items() if where.any()]


def _resized(image: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Resize the image and both masks to the size of a tile before drawing, so that outlines stay one pixel wide."""
    side = max(image.shape[:2])
    factor = ceil(_MIN_TILE_SIDE / side) if side < _MIN_TILE_SIDE else min(1.0, _MAX_TILE_SIDE / side)
    height, width = (max(1, round(length * factor)) for length in image.shape[:2])
    nearest = np.ix_(np.arange(height) * image.shape[0] // height, np.arange(width) * image.shape[1] // width)
    if factor >= 1:
        return image[nearest], truth[nearest], prediction[nearest]
    small = Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(small), truth[nearest], prediction[nearest]


def _page(tiles: Sequence[np.ndarray], captions: Sequence[str], legend: Iterable[Entry]) -> np.ndarray:
    font = ImageFont.load_default(14)
    height, width = tiles[0].shape[:2]
    step = max(width, _CAPTION_WIDTH) + _GAP
    total = len(tiles) * step + _GAP
    entries = list(_placed_entries(legend, font, total))
    lines = 1 + max((line for line, *_ in entries), default=-1)
    page = Image.new(
        "RGB", (total, _LINE_HEIGHT + height + _GAP + lines * _LINE_HEIGHT + (_GAP if lines else 0)), _PAPER
    )
    draw = ImageDraw.Draw(page)
    for index, (tile, caption) in enumerate(zip(tiles, captions, strict=True)):
        left = _GAP + index * step
        draw.text((left, _LINE_HEIGHT / 2), caption, fill=_INK, font=font, anchor="lm")
        page.paste(Image.fromarray(tile), (left, _LINE_HEIGHT))
    for line, left, (name, colour) in entries:
        middle = _LINE_HEIGHT + height + _GAP + line * _LINE_HEIGHT + _LINE_HEIGHT // 2
        top = middle - _SWATCH // 2
        draw.rectangle((left, top, left + _SWATCH, top + _SWATCH), fill=colour, outline=_INK)
        draw.text((left + _SWATCH + 6, middle), name, fill=_INK, font=font, anchor="lm")
    return np.array(page)


def _placed_entries(
    legend: Iterable[Entry], font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int
) -> Iterator[tuple[int, int, Entry]]:
    """Yield the (line, left, entry) of every legend entry, with lines wrapped to the width of the page."""
    line, left = 0, _GAP
    for name, colour in legend:
        needed = _SWATCH + 6 + round(font.getlength(name)) + 2 * _GAP
        if left > _GAP and left + needed > width:
            line, left = line + 1, _GAP
        yield line, left, (name, colour)
        left += needed
