"""Which threshold and which least area give the best score: every pair of them, on masks whose truth is known."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from maskwright.images.components import cleaned, components
from maskwright.images.labels import IGNORED
from maskwright.metrics.salt import score_of_counts

Select = Literal["mean_iou", "mean_precision"]

THRESHOLDS: Final = tuple(round(0.05 * step, 2) for step in range(2, 19))
"""Of a sigmoid, 0.1 to 0.9."""
_AREAS: Final = (0, 5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560)  # pixels
_LARGEST: Final = 0.02  # of an image, at most: a part that large is no speck
_PLAIN: Final = 0.5


@dataclass(frozen=True)
class Search:
    """The score at every threshold, (thresholds, areas), of masks without the parts below every least area, pixels."""

    thresholds: tuple[float, ...]
    areas: tuple[int, ...]
    scores: NDArray[np.float64]

    @property
    def before(self) -> float:
        """The score at a threshold of one half, with every part."""
        return float(self.scores[self.thresholds.index(_PLAIN), 0])

    @property
    def best(self) -> tuple[float, int, float]:
        """The threshold, the least area and their score; of equals, those nearest to one half and to no area."""
        ranked = [
            (-round(float(score), 6), abs(threshold - _PLAIN), area, threshold)
            for threshold, row in zip(self.thresholds, self.scores, strict=True)
            for area, score in zip(self.areas, row, strict=True)
        ]
        score, _, area, threshold = min(ranked)
        return threshold, area, -score


def areas_for(sizes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The least areas worth trying for images of these sizes, pixels."""
    most = _LARGEST * float(np.median([height * width for height, width in sizes]))
    return tuple(area for area in _AREAS if area <= most)


def search(
    images: Iterable[tuple[NDArray[np.uint8], NDArray[np.floating]]],
    *,
    areas: Sequence[int],
    fill_holes: bool,
    select: Select,
    thresholds: Sequence[float] = THRESHOLDS,
) -> Search:
    """Try every threshold and least area on the probabilities (h, w) of one class, each with its truth (h, w).

    Args:
        images: Label indices, 0, 1 or `IGNORED`, and probabilities.
        areas: Least areas to try, pixels.
        fill_holes: Whether holes are filled first.
        select: What is scored: ``mean_iou``, the IoU over all pixels, or ``mean_precision``, see `salt_score`.
        thresholds: To try, 0.5 among them.
    """
    true_positives, guessed, truths = [], [], []
    for truth, probabilities in images:
        found = [
            _counts(probabilities > threshold, truth, areas=areas, fill_holes=fill_holes) for threshold in thresholds
        ]
        true_positives.append([one for one, _ in found])
        guessed.append([other for _, other in found])
        truths.append(int((truth == 1).sum()))
    by_image = np.moveaxis(np.array(true_positives), 0, -1), np.moveaxis(np.array(guessed), 0, -1)
    scores = score(by_image[0], np.array(truths), by_image[1], select=select)
    return Search(tuple(thresholds), tuple(areas), scores)


def search_area(
    images: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]], *, label: int, areas: Sequence[int]
) -> tuple[int, float, float]:
    """The least area of one class among several that gives its best IoU; that IoU, and the one with every part.

    Args:
        images: Label indices of the truth and as decided, (h, w) each.
        label: The class.
        areas: Least areas to try, 0 first.
    """
    found = [
        (_counts(prediction == label, truth, areas=areas, fill_holes=False, label=label), int((truth == label).sum()))
        for truth, prediction in images
    ]
    true_positives, guessed = (np.sum([counts[part] for counts, _ in found], axis=0) for part in (0, 1))
    union = guessed + sum(there for _, there in found) - true_positives
    overlaps = np.divide(true_positives, union, out=np.zeros(len(areas)), where=union > 0)
    best = int(overlaps.round(6).argmax())
    return areas[best], float(overlaps[best]), float(overlaps[0])


def score(
    true_positives: NDArray[np.int64], truth: NDArray[np.int64], guessed: NDArray[np.int64], *, select: Select
) -> NDArray[np.float64]:
    """The score of images, last axis, of which pixels are counted: in both masks, in the truth and in the prediction."""
    if select == "mean_precision":
        return score_of_counts(true_positives, np.broadcast_to(truth, true_positives.shape), guessed).mean(axis=-1)
    union = (guessed + truth - true_positives).sum(axis=-1)
    return np.divide(true_positives.sum(axis=-1), union, out=np.zeros(union.shape), where=union > 0)


def _counts(
    mask: NDArray[np.bool_], truth: NDArray[np.uint8], *, areas: Sequence[int], fill_holes: bool, label: int = 1
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Known pixels of the class that are hit, and that are guessed, with the parts of at least each area alone."""
    if fill_holes:
        mask = cleaned(mask.astype(np.uint8), fill_holes=True) == 1
    parts, pixels = components(mask, diagonal=True)
    size = len(pixels)
    true_positives = np.bincount(parts[truth == label], minlength=size)
    guessed = np.bincount(parts[truth != IGNORED], minlength=size)
    kept = (pixels >= np.array(areas)[:, None]) & (np.arange(size) > 0)
    return kept @ true_positives, kept @ guessed
