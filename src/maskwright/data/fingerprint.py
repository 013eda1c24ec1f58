"""What a plan needs to know of the training data: sizes, pixels, classes, how wide their parts are, and what is up."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskwright.data.label_table import BACKGROUND_WORD, IGNORED_WORD
from maskwright.data.mask_values import MaskValues
from maskwright.data.scan import MaskFacts, Scanned
from maskwright.images.normalise import Normalisation

_FEWEST_MASKS: Final = 16  # below, the spread among masks is not known well enough
_STANDARD_ERRORS: Final = 3.0
_COARSEST: Final = 0.1  # of the pixels of a half: a difference that large would have to show


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The training data in the numbers that decide how to train on it.

    ``sizes`` are (height, width) in pixels, one an image. ``spread`` is the standard deviation of the pixels in the
    unit scale, the mean of the channels. ``shares`` are those of the classes that are there, background included,
    among the pixels that count: they sum to 1. ``object_pixels`` is how wide parts are: the mean horizontal run of a
    class, the median over the classes beside the background; of one class, that of the background where it is narrower,
    for what separates is looked for as well; None where there is no class. ``upright`` says whether upper
    and lower halves of the masks hold different classes, None where that cannot be told.
    """

    sizes: tuple[tuple[int, int], ...]
    mean: float
    spread: float
    shares: Mapping[str, float]
    object_pixels: float | None
    upright: bool | None

    def at_scale(self, scale: float) -> "Fingerprint":
        """What it would be of images resized by ``scale``."""
        if scale == 1:
            return self
        sizes = tuple((max(1, round(height * scale)), max(1, round(width * scale))) for height, width in self.sizes)
        wide = None if self.object_pixels is None else self.object_pixels * scale
        return replace(self, sizes=sizes, object_pixels=wide)

    @property
    def median_size(self) -> tuple[int, int]:
        """(height, width) of the median image, rounded up."""
        height, width = np.median(self.sizes, axis=0)
        return math.ceil(height), math.ceil(width)

    @property
    def pixels(self) -> int:
        """Pixels of all images together."""
        return sum(height * width for height, width in self.sizes)

    @property
    def rarest(self) -> tuple[str, float]:
        """The class with the fewest pixels beside the background, and its share of the pixels, 0 to 1."""
        classes = {name: share for name, share in self.shares.items() if name != BACKGROUND_WORD} or self.shares
        return min(classes.items(), key=lambda item: item[1], default=("no class", 0.0))


def fingerprint(scanned: Sequence[Scanned], *, mask_values: MaskValues, normalisation: Normalisation) -> Fingerprint:
    """The fingerprint of training pairs, all of them readable, whose pixels ``normalisation`` was measured on."""
    masks = [one.mask for one in scanned if one.mask is not None]
    pixels = _total(mask_values, [mask.values for mask in masks])
    runs = _total(mask_values, [mask.runs for mask in masks])
    counted = pixels.total() or 1
    widths = [pixels[name] / runs[name] for name in pixels if name != BACKGROUND_WORD]
    if len(widths) == 1 and pixels[BACKGROUND_WORD]:
        widths = [min(*widths, pixels[BACKGROUND_WORD] / runs[BACKGROUND_WORD])]
    return Fingerprint(
        sizes=tuple(one.image.size for one in scanned if one.image is not None),
        mean=float(np.mean(normalisation.mean)),
        spread=float(np.mean(normalisation.std)),
        shares={name: number / counted for name, number in pixels.items()},
        object_pixels=float(np.median(widths)) if widths else None,
        upright=_is_upright(masks, mask_values),
    )


def _total(mask_values: MaskValues, counts: Sequence[Mapping[int | str, int]]) -> Counter[str]:
    total = sum((mask_values.count_words(values) for values in counts), start=Counter[str]())
    del total[IGNORED_WORD]
    return total


def _is_upright(masks: Sequence[MaskFacts], mask_values: MaskValues) -> bool | None:
    """Whether the classes of upper and lower halves differ by more than chance, over all masks.

    The difference of each mask is one observation. A class that lies higher or lower than three standard errors allow
    decides. None where masks are few, or so unlike that a tenth of the pixels could lie on one side unseen.
    """
    differences = np.array([row for mask in masks if (row := _upper_minus_lower(mask, mask_values)) is not None])
    if len(differences) < _FEWEST_MASKS:
        return None
    margin = _STANDARD_ERRORS * differences.std(axis=0, ddof=1) / math.sqrt(len(differences))
    if (abs(differences.mean(axis=0)) > margin).any():
        return True
    return None if margin.max() > _COARSEST else False


def _upper_minus_lower(mask: MaskFacts, mask_values: MaskValues) -> NDArray[np.float64] | None:
    """Each label's share of the upper half less that of the lower; None where a half has no pixel that counts."""
    names = [label.name for label in mask_values.labels]
    whole, upper = mask_values.count_words(mask.values), mask_values.count_words(mask.upper)
    top = np.array([upper[name] for name in names], np.float64)
    bottom = np.array([whole[name] - upper[name] for name in names], np.float64)
    return top / top.sum() - bottom / bottom.sum() if top.sum() and bottom.sum() else None
