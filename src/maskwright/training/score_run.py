"""Score the saved network of a run on its validation pairs."""

from collections.abc import Callable
from itertools import count

import numpy as np
from numpy.typing import NDArray

from maskwright.data.mask_values import parse_mask_values
from maskwright.data.pairs import Pair
from maskwright.images.write import write_mask
from maskwright.inference.load_predictor import Predictor
from maskwright.metrics.scores import Scores
from maskwright.training.evaluate import evaluate_pairs
from maskwright.training.run import Run
from maskwright.training.run_records import write_scores


def score_run(
    run: Run, predictor: Predictor, *, progress: Callable[[int, int], None] = lambda done, total: None
) -> Scores:
    """Score a predictor on all validation pairs of a run, and write the predicted masks and ``scores.json``.

    Args:
        run: Run whose recipe and split have already been written.
        predictor: Predictor that uses the saved network of the run.
        progress: Function called with the number of scored pairs and the total.

    Raises:
        InputError: An image or a mask is unreadable or invalid.
    """
    pairs, numbers = run.read_split()["validation"], count(1)

    def finish(pair: Pair, indices: NDArray[np.uint8] | None) -> None:
        if indices is not None:
            write_mask(run.validation / f"{pair.name}.png", predictor.bundle.values(indices))
        progress(next(numbers), len(pairs))

    mask_values = parse_mask_values(run.read_recipe().data.mask_values or {})
    evaluation = evaluate_pairs(predictor, pairs, mask_values=mask_values, on_pair=finish)
    for failure in evaluation.failures:
        raise failure
    write_scores(run.scores, evaluation.record())
    return evaluation.scores
