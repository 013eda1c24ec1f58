"""Tune a network by trying options in turn, each in addition to the options that are already on."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from maskwright.images.components import cleaned
from maskwright.inference.bundle import Bundle, TtaTransform
from maskwright.inference.test_time_augmentation import relative_cost
from maskwright.training.recipe import Recipe
from maskwright.training.tuning_record import TriedOption
from maskwright.tune.halves import HalfScores
from maskwright.tune.result import TuningResult
from maskwright.tune.scoring import Mask, MaskScorer
from maskwright.tune.search import ThresholdSearch, min_sizes_to_try, score_min_sizes, search_thresholds
from maskwright.tune.time_limit import TimeLimit

_GAIN_PER_PREDICTION: Final = 1e-3  # minimum gain, on each half, for each additional prediction of an image
MIN_GAIN: Final = 1e-4
"""Increase of the score, on each half of the held-out images, above which an option is turned on."""
# Costs relative to scoring the masks of all images once, by which options are left out if the time is limited.
_SCORING_COST: Final = 1.5
_HOLES_COST: Final = 10.0
_CLOSING_COST: Final = 4.0  # scoring each image, writing its mask, and checking the result of a search
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


def tried_option(name: str, scores: HalfScores, before: HalfScores | None, *, on: bool) -> TriedOption:
    """Return the record of an option with the scores ``scores``, and its gains over the scores ``before`` it."""
    gains = None if before is None else scores.over(before)
    return TriedOption(
        name=name,
        score=scores.selection,
        gain=gains and gains.selection,
        check_score=scores.check,
        check_gain=gains and gains.check,
        on=on,
    )


PredictTransforms = Callable[[Sequence[TtaTransform]], bool]
"""Function that stores the predictions of transformed images, and returns False if there is not enough time."""


def tune_options(
    scorer: MaskScorer,
    result: TuningResult,
    transforms_by_option: Mapping[str, tuple[TtaTransform, ...]],
    *,
    predict: PredictTransforms = lambda transforms: True,
    limit: TimeLimit | None = None,
) -> TuningResult:
    """Tune test-time augmentation, hole filling, the threshold and the minimum component sizes.

    The values of each option are chosen on the selection half, and the option is turned on if it increases the scores
    of both halves. Test-time augmentation needs a larger increase, because it makes prediction slower.

    Args:
        scorer: Scorer of predicted masks of the held-out images.
        result: Result without these options, which contains the options that were tried earlier.
        transforms_by_option: Transforms of the test-time augmentation, by name of the option.
        predict: Function that stores predictions of transformed images. If absent, they are already stored.
        limit: Time limit, within which options are left out and searches use fewer images. If absent, there is none.
    """
    start = time.monotonic()
    tuning = _Tuning(scorer, scorer.score_transforms(()), limit or TimeLimit())
    tuning.scoring_seconds = time.monotonic() - start
    if not result.options:
        tuning.tried.append(tried_option("as trained", tuning.scores, None, on=True))
    for name, transforms in transforms_by_option.items():
        tuning.try_transforms(name, transforms, predict)
    if scorer.bundle.background:
        tuning.try_hole_filling()
    if scorer.bundle.activation == "sigmoid":
        tuning.search_threshold()
    elif scorer.bundle.background:
        tuning.search_min_sizes()
    return tuning.added_to(result)


@dataclass
class _Tuning:
    """Options that have been turned on so far, and the scores with them."""

    scorer: MaskScorer
    scores: HalfScores
    limit: TimeLimit
    scoring_seconds: float = 0.0
    """Time in seconds to score the masks of all images once."""
    tried: list[TriedOption] = field(default_factory=list)
    transforms: tuple[TtaTransform, ...] = ()
    fill_holes: bool = False
    changes: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    search: ThresholdSearch | None = None
    min_component_sizes: dict[str, int] | None = None

    def try_transforms(self, name: str, transforms: tuple[TtaTransform, ...], predict: PredictTransforms) -> None:
        """Try the addition of transforms to the test-time augmentation."""
        if not (self._has_time(_SCORING_COST) and predict(transforms)):
            self._note_skipped(name)
            return
        combined = tuple(dict.fromkeys((*self.transforms, *transforms)))
        predictions = sum(map(relative_cost, combined)) - sum(map(relative_cost, self.transforms))
        if self._try(name, self.scorer.score_transforms(combined), min_gain=_GAIN_PER_PREDICTION * predictions):
            self.transforms = combined

    def try_hole_filling(self) -> None:
        """Try filling the holes of each class."""
        if self._has_time(_HOLES_COST):
            scores = self.scorer.score_transforms(self.transforms, fill_holes=True)
            self.fill_holes = self._try("fill holes", scores)
        else:
            self._note_skipped("fill holes")

    def search_threshold(self) -> None:
        """Search for the best threshold and minimum component size of a single class."""
        scorer = self.scorer
        if not self._has_time(_SCORING_COST):
            self._note_skipped("threshold")
            return
        self.search = search_thresholds(
            ((scorer.truth(index), self._probabilities(index)) for index in self._selection("threshold")),
            min_sizes=min_sizes_to_try([image.truth.shape for image in scorer.predicted.images]),
            fill_holes=self.fill_holes,
            monitor=scorer.monitor,
        )
        threshold, min_size, _ = self.search.best
        name = f"threshold {threshold:g}" + (f", minimum component size {min_size}" if min_size else "")
        self.min_component_sizes = {}
        masks = ((index, self._mask_by_threshold(index, threshold, min_size)) for index in scorer.indices)
        if self._try(name, scorer.score(masks)):
            self.changes["threshold"] = threshold
            if min_size:
                self._set_min_sizes([0, min_size])

    def search_min_sizes(self) -> None:
        """Search for the best minimum component size of each class separately, and then try all sizes together."""
        scorer, labels = self.scorer, self.scorer.bundle.labels
        if not self._has_time(_SCORING_COST):
            self._note_skipped("minimum component sizes")
            return
        masks = {index: scorer.mask(index, self.transforms, fill_holes=self.fill_holes) for index in scorer.indices}
        to_try = min_sizes_to_try([scorer.truth(index).shape for index in masks])
        sizes = [0] * len(labels)
        for label in range(1, len(labels)):
            name = f"minimum component size of {labels[label].name}"
            if not self._has_time(_SCORING_COST):
                self._note_skipped(name)
                continue
            sizes[label] = self._search_min_size(label, masks, to_try, name)
        self.min_component_sizes = {}
        cleaned_masks = ((index, cleaned(mask, min_component_sizes=sizes)) for index, mask in masks.items())
        named = {label.name: size for label, size in zip(labels, sizes, strict=True) if size}
        name = "minimum component sizes" + "".join(f", {label} {size}" for label, size in named.items())
        if self._try(name, scorer.score(cleaned_masks), possible=any(sizes)):
            self._set_min_sizes(sizes)

    def added_to(self, result: TuningResult) -> TuningResult:
        """Return the result with the tuned bundle and the tried options."""
        changes = {"tta": self.transforms, "fill_holes": self.fill_holes, **self.changes}
        bundle = self.scorer.bundle.model_copy(update=changes)
        return replace(
            result,
            bundle=Bundle.model_validate(bundle.model_dump()),
            half_sizes=(len(self.scorer.halves.selection), len(self.scorer.halves.check)),
            options=(*result.options, *self.tried),
            scores=self.scores,
            notes=(*result.notes, *self.notes),
            search=self.search,
            min_component_sizes=self.min_component_sizes,
        )

    def _search_min_size(self, label: int, masks: Mapping[int, Mask], to_try: Sequence[int], name: str) -> int:
        """Search for the minimum component size of one class by its IoU alone, and return 0 if it has no gain."""
        scorer = self.scorer

        def ious(indices: Iterator[int] | Sequence[int], min_sizes: Sequence[int]) -> NDArray[np.float64]:
            pairs = ((scorer.truth(index), masks[index]) for index in indices)
            return score_min_sizes(pairs, label=label, min_sizes=min_sizes)

        selection = ious(self._selection(name), to_try)
        best = int(selection.round(6).argmax())
        check = ious(scorer.halves.check, (0, to_try[best]))
        scores = HalfScores(float(selection[best]), float(check[1]))
        before = HalfScores(float(selection[0]), float(check[0]))
        is_on = scores.over(before).both_above(MIN_GAIN)
        title = f"IoU of {scorer.bundle.labels[label].name} alone, minimum component size {to_try[best]}"
        self.tried.append(tried_option(title, scores, before, on=is_on).model_copy(update={"is_monitored": False}))
        return to_try[best] if is_on else 0

    def _probabilities(self, index: int) -> NDArray[np.float32]:
        """Return the probabilities (h, w) of the single class."""
        return self.scorer.predicted.mean(index, self.transforms)[..., 0]

    def _mask_by_threshold(self, index: int, threshold: float, min_size: int) -> Mask:
        mask = (self._probabilities(index) > threshold).astype(np.uint8)
        return cleaned(mask, min_component_sizes=(0, min_size), fill_holes=self.fill_holes)

    def _selection(self, name: str) -> Iterator[int]:
        """Yield the images of the selection half in random order, as many as the time allows, and at least one."""
        half = self.scorer.halves.selection
        order = [half[place] for place in np.random.default_rng(0).permutation(len(half))]
        used = 0
        for index in self.limit.take(order, until=_CLOSING_COST * self.scoring_seconds):
            used += 1
            yield index
        if used < len(half):
            self.notes.append(f"{name}: chosen on {used} of {len(half)} images to keep the time budget.")

    def _has_time(self, cost: float) -> bool:
        """Return whether an option can be tried, whose cost is given relative to scoring the masks of all images."""
        return self.limit.allows((cost + _CLOSING_COST) * self.scoring_seconds)

    def _note_skipped(self, name: str) -> None:
        self.notes.append(f"{name}: not tried, to keep the time budget.")

    def _try(self, name: str, scores: HalfScores, *, possible: bool = True, min_gain: float = MIN_GAIN) -> bool:
        """Record an option, update the scores if it increases both of them, and return whether it does."""
        is_on = possible and scores.over(self.scores).both_above(min_gain)
        self.tried.append(tried_option(name, scores, self.scores, on=is_on))
        if is_on:
            self.scores = scores
        return is_on

    def _set_min_sizes(self, sizes: Sequence[int]) -> None:
        self.changes["min_component_sizes"] = tuple(sizes)
        names = [label.name for label in self.scorer.bundle.labels]
        self.min_component_sizes = {name: size for name, size in zip(names, sizes, strict=True) if size}
