"""Whether an engine does what the network it was made of does, on the run's own validation pairs."""

import json
from collections.abc import Callable, Mapping
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from maskwright.data.mask_values import parse_mask_values
from maskwright.data.pairs import spread
from maskwright.errors import InputError
from maskwright.images.read import read_image
from maskwright.inference.engines.engine import Engine
from maskwright.inference.engines.record import Bounds, Checks, Precision
from maskwright.inference.predict_image import predict_indices
from maskwright.training.evaluate import evaluate_pairs
from maskwright.training.run import NothingToResume, Run

MOST_COMPARED: Final = 10
"""Images that both the network and the engine predict; the engine alone predicts every validation image."""

# f32 differs by rounding alone. bf16 keeps 8 bits of a number: of two classes that are about equally likely it may take
# the other, and where a sure network's classes meet, probabilities are so steep that a rounding moves them far.
BOUNDS: Final[Mapping[Precision, Bounds]] = {
    "f32": Bounds(largest_difference=1e-3, changed_pixels=1e-4, score=1e-3),
    "bf16": Bounds(largest_difference=0.25, changed_pixels=1e-2, score=5e-3),
    "int8": Bounds(largest_difference=1.0, changed_pixels=5e-2, score=5e-3, may_rise=True),
}


class UnscoredRun(InputError):
    """A run without what an engine is checked on: its validation pairs, and its network's score on them."""

    text = "{run}: has no {missing}, which an engine is checked on, since {cause}; {remedy}."


class EngineDisagrees(InputError):
    """An engine that is not the network it was made of."""

    text = (
        "{run} as {to} in {precision} does not predict what the run's network predicts: {found}. "
        "Nothing was written; {remedy}."
    )


@final
class Compared:
    """Two engines as one, which answers as the second does and counts where they differ."""

    def __init__(self, reference: Engine, engine: Engine) -> None:
        self.reference = reference
        self.engine = engine
        self.bundle = engine.bundle
        self.pixels = 0
        self.changed = 0
        self.largest_difference = 0.0

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities of the second engine, (n, h, w, outputs)."""
        expected, found = self.reference(images), self.engine(images)
        self.pixels += found[..., 0].size
        self.changed += int((self.bundle.decide(expected) != self.bundle.decide(found)).sum())
        # A NaN is further off than any bound, and the greater of two in NumPy's way of comparing.
        self.largest_difference = float(np.maximum(self.largest_difference, np.abs(expected - found).max()))
        return found


def check_engine(
    run: Run,
    *,
    reference: Engine,
    engine: Engine,
    bounds: Bounds,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Checks:
    """Compare ``engine`` with ``reference`` on some validation images, and with the run's score on all of them.

    Args:
        run: Whose validation pairs and score are taken.
        reference: The run's own network.
        engine: What was made of it.
        bounds: What is allowed; nothing is refused here, see `faults`.
        progress: Called with the images predicted and all to predict, after each one.

    Raises:
        UnscoredRun: The run was never scored.
        InputError: A validation pair cannot be read any more.
    """
    pairs, trained = run.read_split()["validation"], read_score(run)
    chosen = spread(pairs, MOST_COMPARED)
    done, total = 0, len(chosen) + len(pairs)

    def count(*_: object) -> None:
        nonlocal done
        done += 1
        progress(done, total)

    compared = Compared(reference, engine)
    for pair in chosen:
        predict_indices(compared, read_image(pair.image), file=pair.image)
        count()
    mask_values = parse_mask_values(run.read_recipe().data.mask_values or {})
    evaluation = evaluate_pairs(engine, pairs, mask_values=mask_values, seen=count)
    for failure in evaluation.failures:
        raise failure
    return Checks(
        compared_images=len(chosen),
        compared_pixels=compared.pixels,
        largest_difference=compared.largest_difference,
        changed_pixels=compared.changed / compared.pixels,
        scored_pairs=len(pairs),
        run_mean_iou=trained,
        engine_mean_iou=evaluation.scores.mean_iou,
        bounds=bounds,
    )


def faults(checks: Checks) -> list[str]:
    """Every bound that is passed, in words; empty where the engine may be used.

    >>> bounds = Bounds(largest_difference=1e-3, changed_pixels=1e-4, score=1e-3)
    >>> found = {"largest_difference": 0.2, "changed_pixels": 0.0, "run_mean_iou": 0.5, "engine_mean_iou": 0.5}
    >>> faults(Checks(compared_images=1, compared_pixels=9, scored_pairs=1, bounds=bounds, **found))
    ['a probability differs by 0.2, bound 0.001']
    """
    allowed, found = checks.bounds, checks
    before, after = found.run_mean_iou or 0.0, found.engine_mean_iou or 0.0
    said = [
        (
            found.largest_difference <= allowed.largest_difference,
            f"a probability differs by {found.largest_difference:.3g}, bound {allowed.largest_difference:g}",
        ),
        (
            found.changed_pixels <= allowed.changed_pixels,
            f"{found.changed_pixels:.3%} of pixels change their class, bound {allowed.changed_pixels:.3%}",
        ),
        (
            (before - after if allowed.may_rise else abs(after - before)) <= allowed.score,
            f"its validation mean IoU is {after:.4f} where training had {before:.4f}, bound {allowed.score:g}",
        ),
    ]
    return [text for kept, text in said if not kept]


def read_score(run: Run) -> float | None:
    """The mean IoU the run's network scored when it was trained.

    Raises:
        UnscoredRun: The run was never scored.
    """
    for file in (run.scores, run.split):
        if not file.is_file():
            cause, remedy = _unscored(run)
            raise UnscoredRun(run=run.folder, missing=file.name, cause=cause, remedy=remedy)
    return json.loads(run.scores.read_text(encoding="utf-8"))["scores"]["mean_iou"]


def _unscored(run: Run) -> tuple[str, str]:
    """Why a run has no score, and what gives it one."""
    if not run.recipe.is_file():
        return "its network was converted and not trained here", "it predicts as it is, with Keras"
    try:
        Run.interrupted(run.folder)
    except NothingToResume as error:
        return str(error.fields["found"]), "train it anew"
    return "its training is not complete", f"go on with: maskwright train --resume --out {run.folder}"
