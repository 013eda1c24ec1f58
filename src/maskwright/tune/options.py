"""Tune a network by trying options in turn, each in addition to the options that are already on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from maskwright.images.components import cleaned
from maskwright.inference.bundle import Bundle, TtaTransform
from maskwright.training.recipe import Recipe
from maskwright.tune.result import TriedOption, TuningResult
from maskwright.tune.scoring import MaskScorer
from maskwright.tune.search import ThresholdSearch, min_sizes_to_try, search_min_size, search_thresholds

MIN_GAIN: Final = 1e-4
"""Increase of the score above which an option is turned on."""
_MIN_ZOOM_FOR_SCALES: Final = 0.25  # smallest zoom augmentation for which scaled images are tried
_MIN_ROTATION_FOR_QUARTER_TURNS: Final = 90.0  # smallest rotation, in degrees, to try them


def transforms_to_try(recipe: Recipe) -> dict[str, tuple[TtaTransform, ...]]:
    """Return the transforms that resemble the augmentation used in training, by name of the option.

    >>> transforms_to_try(Recipe.from_dict({"data": {"images": "i", "masks": "m"}}))
    {'flips': ('mirrored',), 'scales': ('smaller', 'larger')}
    """
    augmentation = recipe.augmentation
    options: dict[str, tuple[TtaTransform, ...]] = {}
    if augmentation.custom is not None:
        return options
    if augmentation.flip == "horizontal_and_vertical":
        options["flips"] = ("mirrored", "upside_down", "turned_round")
    elif augmentation.flip != "none":
        options["flips"] = ("mirrored",) if augmentation.flip == "horizontal" else ("upside_down",)
    if augmentation.rotation >= _MIN_ROTATION_FOR_QUARTER_TURNS:
        options["quarter turns"] = ("turned_left", "turned_round", "turned_right")
    if augmentation.zoom >= _MIN_ZOOM_FOR_SCALES:
        options["scales"] = ("smaller", "larger")
    return options


def common_transforms(recipes: Sequence[Recipe]) -> dict[str, tuple[TtaTransform, ...]]:
    """Return the options that `transforms_to_try` returns, with the same transforms, for every recipe."""
    options = [transforms_to_try(recipe) for recipe in recipes]
    return {
        name: transforms
        for name, transforms in options[0].items()
        if all(other.get(name) == transforms for other in options)
    }


def tune_options(
    scorer: MaskScorer, transforms_by_option: Mapping[str, tuple[TtaTransform, ...]], tried: Sequence[TriedOption]
) -> TuningResult:
    """Tune test-time augmentation, hole filling, the threshold and the minimum component sizes.

    Args:
        scorer: Scorer of predicted masks of the held-out images.
        transforms_by_option: Transforms of the test-time augmentation, by name of the option.
        tried: Options that were tried earlier, which are listed first in the result.
    """
    tuning = _Tuning(scorer, list(tried), scorer.score_transforms(()))
    for name, transforms in transforms_by_option.items():
        tuning.try_transforms(name, transforms)
    if scorer.bundle.background:
        tuning.try_hole_filling()
    if scorer.bundle.activation == "sigmoid":
        tuning.search_threshold()
    elif scorer.bundle.background:
        tuning.search_min_sizes()
    return tuning.result()


@dataclass
class _Tuning:
    """Options that have been turned on so far, and the best score."""

    scorer: MaskScorer
    tried: list[TriedOption]
    best: float
    transforms: tuple[TtaTransform, ...] = ()
    fill_holes: bool = False
    changes: dict[str, Any] = field(default_factory=dict)
    search: ThresholdSearch | None = None
    min_component_sizes: dict[str, int] | None = None

    def try_transforms(self, name: str, transforms: tuple[TtaTransform, ...]) -> None:
        """Try the addition of transforms to the test-time augmentation."""
        combined = tuple(dict.fromkeys((*self.transforms, *transforms)))
        if self._try(name, self.scorer.score_transforms(combined)):
            self.transforms = combined

    def try_hole_filling(self) -> None:
        """Try filling the holes of each class."""
        self.fill_holes = self._try("fill holes", self.scorer.score_transforms(self.transforms, fill_holes=True))

    def search_threshold(self) -> None:
        """Search for the best threshold and minimum component size of a single class."""
        scorer = self.scorer
        self.search = search_thresholds(
            ((scorer.truth(index), scorer.predicted.mean(index, self.transforms)[..., 0]) for index in scorer.indices),
            min_sizes=min_sizes_to_try([image.truth.shape for image in scorer.predicted.images]),
            fill_holes=self.fill_holes,
            monitor=scorer.monitor,
        )
        threshold, min_size, score = self.search.best
        name = f"threshold {threshold:g}" + (f", minimum component size {min_size}" if min_size else "")
        self.min_component_sizes = {}
        if self._try(name, score):
            self.changes["threshold"] = threshold
            if min_size:
                self._set_min_sizes([0, min_size])

    def search_min_sizes(self) -> None:
        """Search for the best minimum component size of each class separately, and then try all sizes together."""
        scorer, labels = self.scorer, self.scorer.bundle.labels
        masks = {index: scorer.mask(index, self.transforms, fill_holes=self.fill_holes) for index in scorer.indices}
        to_try = min_sizes_to_try([scorer.truth(index).shape for index in masks])
        sizes = [0] * len(labels)
        for label in range(1, len(labels)):
            pairs = ((scorer.truth(index), mask) for index, mask in masks.items())
            size, iou, iou_before = search_min_size(pairs, label=label, min_sizes=to_try)
            is_on = iou > iou_before + MIN_GAIN
            sizes[label] = size if is_on else 0
            name = f"IoU of {labels[label].name} alone, minimum component size {size}"
            self.tried.append(TriedOption(name, iou, iou - iou_before, is_on))
        self.min_component_sizes = {}
        cleaned_masks = ((index, cleaned(mask, min_component_sizes=sizes)) for index, mask in masks.items())
        if self._try("minimum component sizes", scorer.score(cleaned_masks), possible=any(sizes)):
            self._set_min_sizes(sizes)

    def result(self) -> TuningResult:
        """Return the result with the tuned bundle."""
        changes = {"tta": self.transforms, "fill_holes": self.fill_holes, **self.changes}
        bundle = self.scorer.bundle.model_copy(update=changes)
        return TuningResult(
            used_images=len(self.scorer.indices),
            monitor=self.scorer.monitor,
            options=tuple(self.tried),
            score=self.best,
            bundle=Bundle.model_validate(bundle.model_dump()),
            search=self.search,
            min_component_sizes=self.min_component_sizes,
        )

    def _try(self, name: str, score: float, *, possible: bool = True) -> bool:
        """Record an option, update the best score if the option raises it, and return whether it does."""
        is_on = possible and score > self.best + MIN_GAIN
        self.tried.append(TriedOption(name, score, score - self.best, is_on))
        if is_on:
            self.best = score
        return is_on

    def _set_min_sizes(self, sizes: Sequence[int]) -> None:
        self.changes["min_component_sizes"] = tuple(sizes)
        names = [label.name for label in self.scorer.bundle.labels]
        self.min_component_sizes = {name: size for name, size in zip(names, sizes, strict=True) if size}
