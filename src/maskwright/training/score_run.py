"""Score the saved network of a run on its validation pairs."""

from collections.abc import Callable, Iterable
from contextlib import closing
from itertools import count

import numpy as np
from numpy.typing import NDArray

from maskwright.data.mask_values import parse_mask_values
from maskwright.data.pairs import Pair
from maskwright.images.write import write_mask
from maskwright.inference.bundle import Bundle
from maskwright.inference.load_predictor import Predictor
from maskwright.inference.pipeline import FailedImage, NumberedFile
from maskwright.metrics.scores import Scores
from maskwright.training.evaluate import PredictedMask, evaluate_masks, predict_masks
from maskwright.training.run import Run
from maskwright.training.run_records import write_scores

Progress = Callable[[int, int], None]


def score_run(run: Run, predictor: Predictor, *, progress: Progress = lambda done, total: None) -> Scores:
    """Score a predictor on all validation pairs of a run, and write the predicted masks and ``scores.json``.

    Args:
        run: Run whose recipe and split have already been written.
        predictor: Predictor that uses the saved network of the run.
        progress: Function called with the number of scored pairs and the total.

    Raises:
        InputError: An image or a mask is unreadable or invalid.
    """
    files = [NumberedFile(number, pair.image) for number, pair in enumerate(run.read_split()["validation"])]
    with closing(predict_masks(predictor, files)) as masks:
        return score_masks(run, predictor.bundle, masks, progress=progress)


def score_masks(
    run: Run,
    bundle: Bundle,
    masks: Iterable[PredictedMask | FailedImage],
    *,
    progress: Progress = lambda done, total: None,
) -> Scores:
    """Score the predicted masks of all validation pairs of a run, and write the masks and ``scores.json``.

    Args:
        run: Run whose recipe and split have already been written.
        bundle: Bundle with the labels of the masks.
        masks: Predicted masks, numbered by the index of the validation pair, in any order.
        progress: Function called with the number of scored pairs and the total.

    Raises:
        InputError: An image or a mask is unreadable or invalid.
    """
    pairs, numbers = run.read_split()["validation"], count(1)

    def finish(pair: Pair, indices: NDArray[np.uint8] | None) -> None:
        if indices is not None:
            write_mask(run.validation / f"{pair.name}.png", bundle.values(indices))
        progress(next(numbers), len(pairs))

    mask_values = parse_mask_values(run.read_recipe().data.mask_values or {})
    evaluation = evaluate_masks(bundle, pairs, masks, mask_values=mask_values, on_pair=finish)
    for failure in evaluation.failures:
        raise failure
    write_scores(run.scores, evaluation.record())
    return evaluation.scores
