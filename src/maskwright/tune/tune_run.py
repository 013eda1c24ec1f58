"""Tune a single run on its validation images, and score them with the tuned values from the same predictions."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from time import perf_counter
from typing import Final

from maskwright.inference.bundle import Bundle, TtaTransform
from maskwright.inference.engines.engine import Engine
from maskwright.inference.ensemble import remove_tuning_files
from maskwright.inference.pipeline import FailedImage, NumberedFile
from maskwright.inference.test_time_augmentation import relative_cost, with_test_time_augmentation
from maskwright.metrics.scores import Scores
from maskwright.training.evaluate import PredictedMask, predict_masks
from maskwright.training.run import Run
from maskwright.training.score_run import score_masks
from maskwright.tune.halves import MIN_IMAGES, frame_groups
from maskwright.tune.held_out import (
    HeldOutPredictions,
    NetworkOfRun,
    TransformedEngine,
    held_out_images,
    predict_probabilities,
)
from maskwright.tune.options import transforms_to_try, tune_options
from maskwright.tune.page import write_tuning
from maskwright.tune.result import TuningResult
from maskwright.tune.scoring import MaskScorer
from maskwright.tune.time_limit import TimeLimit

Progress = Callable[[int, int], None]

_MAX_PASS_FRACTION: Final = 0.8  # maximum fraction of the time left that is used for predictions of transformed images


def tune_run(run: Run, engine: Engine, *, limit: TimeLimit, progress: Progress) -> tuple[TuningResult, Scores]:
    """Tune a run, and write its tuned bundle, validation masks, ``scores.json``, ``tuning.json`` and ``tuning.html``.

    Each validation image is predicted once, and once with each transform that is tried. If the probabilities of all
    images exceed the storage limit, only some of the images are used for tuning; the others are predicted with the
    tuned values.

    Args:
        run: Run whose recipe and split have been written.
        engine: Engine of the run's network, whose bundle is replaced by the tuned bundle.
        limit: Time limit. All images are predicted once in any case; options that would take too long are left out.
        progress: Function called with the number of predicted images and the total of each pass over the images.

    Returns:
        The result of tuning, and the scores of all validation images.

    Raises:
        NothingHeldOut: The run has no validation images.
        InputError: An image or a mask cannot be read.
    """
    recipe = run.read_recipe()
    engine.bundle = engine.bundle.untuned()
    transforms_by_option = transforms_to_try(recipe)
    transforms = tuple(dict.fromkeys(chain.from_iterable(transforms_by_option.values())))
    networks = [NetworkOfRun(run.folder, run)]
    images, _ = held_out_images(networks, variants=1 + len(transforms), folder=run.folder, fewest=MIN_IMAGES)
    result = TuningResult.untuned(engine.bundle, networks)
    with HeldOutPredictions(images, transforms, engine.bundle.outputs, folder=run.folder) as predicted:
        passes = _Passes(run, engine, predicted, limit, progress)
        passes.predict_plain()
        if len(images) < MIN_IMAGES:
            number = len(run.read_split()["validation"])
            result = result.without_tuning(number if number < MIN_IMAGES else len(images))
        elif not limit.allows(passes.rest_seconds):
            result = result.noted("Nothing was tuned, to keep the time budget.")
        else:
            scorer = MaskScorer(predicted, engine.bundle, recipe.training.monitor, groups=frame_groups([run]))
            result = tune_options(
                scorer, result, transforms_by_option, predict=passes.predict_transforms, limit=passes.limit_of_search()
            )
        remove_tuning_files(run.folder)  # both files describe the bundle before this tuning
        result.bundle.write(run.folder)
        engine.bundle = result.bundle
        with closing(passes.masks(result.bundle)) as masks:
            scores = score_masks(run, result.bundle, masks)
    write_tuning(result, run.folder)
    return result, scores


@dataclass
class _Passes:
    """Predict all stored validation images of a run, once without a transform and once with each transform."""

    run: Run
    engine: Engine
    predicted: HeldOutPredictions
    limit: TimeLimit
    progress: Progress
    seconds: dict[tuple[int, int], float] = field(default_factory=dict)
    """Prediction time by the index of the image and the variant."""
    pass_seconds: float = 0.0
    """Time of the pass without a transform, including reading."""

    def __post_init__(self) -> None:
        stored = {image.pair.image for image in self.predicted.images}
        self._numbers = {pair.image: number for number, pair in enumerate(self.run.read_split()["validation"])}
        self._rest = [NumberedFile(number, file) for file, number in self._numbers.items() if file not in stored]
        self._done: set[TtaTransform] = set()

    @property
    def rest_seconds(self) -> float:
        """Estimated time to predict the images that are not stored, without a transform."""
        return self.pass_seconds * len(self._rest) / max(1, len(self.predicted.images))

    def limit_of_search(self) -> TimeLimit:
        """Return the time limit less the time to predict the images that are not stored, with all transforms so far."""
        return TimeLimit(lambda: self.limit.left() - self.rest_seconds * (1 + sum(map(relative_cost, self._done))))

    def predict_plain(self) -> None:
        """Predict all stored images without a transform."""
        start = perf_counter()
        self._predict(0, self.engine)
        self.pass_seconds = perf_counter() - start

    def predict_transforms(self, transforms: Sequence[TtaTransform]) -> bool:
        """Predict all stored images with each transform, and return False if there is not enough time.

        The images that are not stored will be predicted with the same transforms.
        """
        new = [transform for transform in transforms if transform not in self._done]
        cost = (self.pass_seconds + self.rest_seconds) * sum(map(relative_cost, new))
        if cost > _MAX_PASS_FRACTION * self.limit_of_search().left():
            return False
        for transform in new:
            variant = 1 + self.predicted.transforms.index(transform)
            self._predict(variant, TransformedEngine(self.engine, transform))
            self._done.add(transform)
        return True

    def masks(self, bundle: Bundle) -> Generator[PredictedMask | FailedImage, None, None]:
        """Yield the masks of all validation images: of the stored images from their stored probabilities."""
        variants = [0, *(1 + self.predicted.transforms.index(transform) for transform in bundle.tta)]
        for index, image in enumerate(self.predicted.images):
            indices = bundle.finish(bundle.decide(self.predicted.mean(index, bundle.tta)))
            seconds = sum(self.seconds[index, variant] for variant in variants)
            yield PredictedMask(NumberedFile(self._numbers[image.pair.image], image.pair.image), indices, seconds)
        yield from predict_masks(with_test_time_augmentation(self.engine, bundle.tta), self._rest)

    def _predict(self, variant: int, engine: Engine) -> None:
        files = {index: image.pair.image for index, image in enumerate(self.predicted.images)}
        for done, prediction in enumerate(predict_probabilities(engine, files), start=1):
            index = prediction.source.number
            self.predicted.add(index, variant, prediction.values)
            self.seconds[index, variant] = prediction.seconds
            self.progress(done, len(files))
