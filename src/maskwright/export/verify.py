"""Verify an engine by comparing its predictions and its score with those of the original network."""

from collections.abc import Callable, Mapping
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from maskwright.data.mask_values import parse_mask_values
from maskwright.data.pairs import evenly_spaced
from maskwright.errors import InputError
from maskwright.images.read import read_image
from maskwright.inference.engines.engine import Engine
from maskwright.inference.engines.record import EnginePrecision, ExportBounds, ExportChecks
from maskwright.inference.predict_image import predict_indices
from maskwright.training.begin_or_resume import NothingToResume, check_unfinished
from maskwright.training.evaluate import evaluate_pairs
from maskwright.training.run import Run

MAX_COMPARED_IMAGES: Final = 10
"""Largest number of validation images for which the predictions of the network and of the engine are compared."""

# f32 engines differ only by rounding. bf16 has 8 significant bits: where two classes are about equally probable, either
# class may be chosen, and at class borders, a small change in the logits causes a large change in the probability of a
# single pixel. In bf16 and int8, only the fraction of changed pixels and the score are therefore limited; the bound of
# 1 on a probability excludes values that are not probabilities, such as NaN.
BOUNDS: Final[Mapping[EnginePrecision, ExportBounds]] = {
    "f32": ExportBounds(largest_difference=1e-3, changed_pixels=1e-4, score=1e-3),
    "bf16": ExportBounds(largest_difference=1.0, changed_pixels=1e-2, score=5e-3),
    "int8": ExportBounds(largest_difference=1.0, changed_pixels=5e-2, score=5e-3, may_rise=True),
}


class UnscoredRun(InputError):
    """A run without the validation pairs or scores required for the verification of an engine."""

    text = "{run}: found no {missing}: {cause}. It is required for the verification of the engine. {remedy}."


class EngineDisagrees(InputError):
    """An engine whose predictions differ from those of the original network."""

    text = (
        "{run}: the {to} engine in {precision} does not agree with the network: {found}. Nothing was written. {remedy}."
    )


@final
class ComparingEngine:
    """An engine that returns the predictions of ``engine`` and compares them with the predictions of ``reference``."""

    def __init__(self, reference: Engine, engine: Engine) -> None:
        self.reference = reference
        self.engine = engine
        self.bundle = engine.bundle
        self.pixels = 0
        self.changed = 0
        self.largest_difference = 0.0

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probabilities (n, h, w, outputs) that ``engine`` predicts for ``images``."""
        expected, found = self.reference(images), self.engine(images)
        self.pixels += found[..., 0].size
        self.changed += int((self.bundle.decide(expected) != self.bundle.decide(found)).sum())
        # The maximum of NumPy propagates NaN, and NaN exceeds every bound.
        self.largest_difference = float(np.maximum(self.largest_difference, np.abs(expected - found).max()))
        return found


def check_engine(
    run: Run,
    *,
    reference: Engine,
    engine: Engine,
    bounds: ExportBounds,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ExportChecks:
    """Compare an exported engine with the original network of a run.

    The predictions of ``engine`` and ``reference`` are compared on some validation images, and the score of ``engine``
    on all validation images is compared with that of the run.

    Args:
        run: Run whose validation pairs and score are used.
        reference: Engine that runs the original network of the run.
        engine: Exported engine to verify.
        bounds: Largest allowed differences, which are recorded in the result and checked by `exceeded_bounds`.
        progress: Function called after each image with the number of finished images and the total.

    Raises:
        UnscoredRun: The run has no scores.
        InputError: A validation pair cannot be read.
    """
    pairs, run_mean_iou = run.read_split()["validation"], require_score(run)
    chosen = evenly_spaced(pairs, MAX_COMPARED_IMAGES)
    done, total = 0, len(chosen) + len(pairs)

    def count(*_: object) -> None:
        nonlocal done
        done += 1
        progress(done, total)

    compared = ComparingEngine(reference, engine)
    for pair in chosen:
        predict_indices(compared, read_image(pair.image), file=pair.image)
        count()
    mask_values = parse_mask_values(run.read_recipe().data.mask_values or {})
    evaluation = evaluate_pairs(engine, pairs, mask_values=mask_values, on_pair=count)
    for failure in evaluation.failures:
        raise failure
    return ExportChecks(
        compared_images=len(chosen),
        compared_pixels=compared.pixels,
        largest_difference=compared.largest_difference,
        changed_pixels=compared.changed / compared.pixels,
        scored_pairs=len(pairs),
        run_mean_iou=run_mean_iou,
        engine_mean_iou=evaluation.scores.mean_iou,
        bounds=bounds,
    )


def exceeded_bounds(checks: ExportChecks) -> list[str]:
    """Return a description of every exceeded bound; the list is empty if no bound is exceeded.

    >>> bounds = ExportBounds(largest_difference=1e-3, changed_pixels=1e-4, score=1e-3)
    >>> found = {"largest_difference": 0.2, "changed_pixels": 0.0, "run_mean_iou": 0.5, "engine_mean_iou": 0.5}
    >>> exceeded_bounds(ExportChecks(compared_images=1, compared_pixels=9, scored_pairs=1, bounds=bounds, **found))
    ['a probability differs by 0.2 (bound 0.001)']
    """
    allowed, found = checks.bounds, checks
    before, after = found.run_mean_iou or 0.0, found.engine_mean_iou or 0.0
    tests = [
        (
            found.largest_difference <= allowed.largest_difference,
            f"a probability differs by {found.largest_difference:.3g} (bound {allowed.largest_difference:g})",
        ),
        (
            found.changed_pixels <= allowed.changed_pixels,
            f"{found.changed_pixels:.3%} of the pixels have another class (bound {allowed.changed_pixels:.3%})",
        ),
        (
            (before - after if allowed.may_rise else abs(after - before)) <= allowed.score,
            f"the validation mean IoU is {after:.4f} instead of {before:.4f} (bound {allowed.score:g})",
        ),
    ]
    return [text for is_within_bound, text in tests if not is_within_bound]


def require_score(run: Run) -> float | None:
    """Return the validation mean IoU of the run.

    Raises:
        UnscoredRun: The run has no scores.
        DamagedRunFile: The ``scores.json`` file of the run is damaged.
    """
    for file in (run.scores, run.split):
        if not file.is_file():
            cause, remedy = _unscored(run)
            raise UnscoredRun(run=run.folder, missing=file.name, cause=cause, remedy=remedy)
    return run.read_scores().scores.mean_iou


def _unscored(run: Run) -> tuple[str, str]:
    """Return the reason why a run has no score and the remedy."""
    if not run.recipe.is_file():
        return "the network was converted, not trained here", "Use the run itself for prediction"
    try:
        check_unfinished(run)
    except NothingToResume as error:
        return str(error.fields["found"]), "Train again"
    return "training is not complete", f"Resume it with: maskwright train --resume --out {run.folder}"
