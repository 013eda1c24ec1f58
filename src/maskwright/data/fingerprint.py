"""Measure the properties of the training data that determine the plan.

They include image sizes, pixel statistics, class fractions and the width of objects.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskwright.data.label_table import BACKGROUND_NAME, IGNORED_NAME
from maskwright.data.mask_values import MaskValues
from maskwright.data.scan import MaskFacts, ScannedPair
from maskwright.images.normalise import Normalisation

_MIN_MASKS: Final = 16  # with fewer masks, the standard deviation over the masks is too uncertain
_STANDARD_ERRORS: Final = 3.0
_MAX_MARGIN: Final = 0.1  # as a fraction of half a mask; with a wider margin of error, symmetry cannot be inferred


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Properties of the training data that determine the plan.

    ``sizes`` contains the (height, width) of each image in pixels. ``mean`` and ``std`` are the mean and standard
    deviation of the pixels after scaling to [0, 1], averaged over the channels. ``class_fractions`` contains the
    fraction of the valid pixels that belong to each class, including background; the fractions sum to 1.
    ``object_width`` is the median over the classes, without background, of the mean length of their horizontal runs in
    pixels. For a single class, it is the smaller of its width and that of the background, since narrow gaps require as
    much resolution as narrow objects. In object masks, a run ends where a touching object begins, so the width is that
    of single objects. It is None if no class other than background occurs. ``vertically_asymmetric`` states whether the
    class fractions in the upper and lower halves of the masks differ; it is None if this cannot be determined reliably.
    ``empty_fraction`` is the fraction of the masks that contain no class except the background, from 0 to 1.
    """

    sizes: tuple[tuple[int, int], ...]
    mean: float
    std: float
    class_fractions: Mapping[str, float]
    object_width: float | None
    vertically_asymmetric: bool | None
    empty_fraction: float = 0.0

    def at_scale(self, scale: float) -> "Fingerprint":
        """Return the fingerprint of the images resized by ``scale``."""
        if scale == 1:
            return self
        sizes = tuple((max(1, round(height * scale)), max(1, round(width * scale))) for height, width in self.sizes)
        object_width = None if self.object_width is None else self.object_width * scale
        return replace(self, sizes=sizes, object_width=object_width)

    @property
    def median_size(self) -> tuple[int, int]:
        """Median height and median width of the images in pixels, rounded up."""
        height, width = np.median(self.sizes, axis=0)
        return math.ceil(height), math.ceil(width)

    @property
    def pixels(self) -> int:
        """Total number of pixels of all images."""
        return sum(height * width for height, width in self.sizes)

    @property
    def rarest_class(self) -> tuple[str, float]:
        """Name of the class, other than background, with the fewest pixels, and its fraction of all pixels (0 to 1)."""
        fractions = self.class_fractions
        classes = {name: fraction for name, fraction in fractions.items() if name != BACKGROUND_NAME} or fractions
        return min(classes.items(), key=lambda item: item[1], default=("no class", 0.0))


def fingerprint(pairs: Sequence[ScannedPair], *, mask_values: MaskValues, normalisation: Normalisation) -> Fingerprint:
    """Return the fingerprint of the readable training pairs, with pixel statistics from ``normalisation``."""
    masks = [pair.mask for pair in pairs if pair.mask is not None]
    pixels = _total(mask_values, [mask.values for mask in masks])
    runs = _total(mask_values, [mask.runs for mask in masks])
    valid = pixels.total() or 1
    widths = [pixels[name] / runs[name] for name in pixels if name != BACKGROUND_NAME]
    if len(widths) == 1 and pixels[BACKGROUND_NAME]:
        widths = [min(*widths, pixels[BACKGROUND_NAME] / runs[BACKGROUND_NAME])]
    return Fingerprint(
        sizes=tuple(pair.image.size for pair in pairs if pair.image is not None),
        mean=float(np.mean(normalisation.mean)),
        std=float(np.mean(normalisation.std)),
        class_fractions={name: number / valid for name, number in pixels.items()},
        object_width=float(np.median(widths)) if widths else None,
        vertically_asymmetric=_is_vertically_asymmetric(masks, mask_values),
        empty_fraction=float(np.mean([_is_empty(mask, mask_values) for mask in masks])) if masks else 0.0,
    )


def _is_empty(mask: MaskFacts, mask_values: MaskValues) -> bool:
    counts = _total(mask_values, [mask.values])
    return bool(counts[BACKGROUND_NAME]) and counts.total() == counts[BACKGROUND_NAME]


def _total(mask_values: MaskValues, counts: Sequence[Mapping[int | str, int]]) -> Counter[str]:
    total = sum((mask_values.count_classes(values) for values in counts), start=Counter[str]())
    del total[IGNORED_NAME]
    return total


def _is_vertically_asymmetric(masks: Sequence[MaskFacts], mask_values: MaskValues) -> bool | None:
    """Test whether the class fractions in the upper and lower halves of the masks differ significantly.

    Each mask is one observation. The result is true if the mean difference of any class exceeds three standard errors.
    It is None if there are few masks or if their class fractions vary so much that a difference of a tenth of the
    pixels could remain undetected.
    """
    differences = np.array([row for mask in masks if (row := _upper_minus_lower(mask, mask_values)) is not None])
    if len(differences) < _MIN_MASKS:
        return None
    margin = _STANDARD_ERRORS * differences.std(axis=0, ddof=1) / math.sqrt(len(differences))
    if (abs(differences.mean(axis=0)) > margin).any():
        return True
    return None if margin.max() > _MAX_MARGIN else False


def _upper_minus_lower(mask: MaskFacts, mask_values: MaskValues) -> NDArray[np.float64] | None:
    """Return the fraction of each label in the upper half of a mask minus that in the lower half.

    The result is None if a half has no valid pixel.
    """
    names = [label.name for label in mask_values.labels]
    whole, upper_half = mask_values.count_classes(mask.values), mask_values.count_classes(mask.upper_half)
    upper = np.array([upper_half[name] for name in names], np.float64)
    lower = np.array([whole[name] - upper_half[name] for name in names], np.float64)
    return upper / upper.sum() - lower / lower.sum() if upper.sum() and lower.sum() else None
