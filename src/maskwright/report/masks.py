"""Read the ground-truth mask and the predicted mask of a validation image."""

import numpy as np
from numpy.typing import NDArray

from maskwright.data.mask_values import MaskValues, parse_mask_values
from maskwright.data.pairs import Pair
from maskwright.images.read import read_mask
from maskwright.inference.bundle import Bundle
from maskwright.training.recipe import Recipe
from maskwright.training.run import Run

IdMask = NDArray[np.uint8]


def read_truth_and_prediction(pair: Pair, *, run: Run, recipe: Recipe, bundle: Bundle) -> tuple[IdMask, IdMask]:
    """Read the ground-truth label indices and the predicted label indices of a validation image, (h, w) each.

    Args:
        pair: Validation image and its ground-truth mask.
        run: Run that contains the predicted mask.
        recipe: Recipe of the run, which defines the values of the ground-truth mask.
        bundle: Bundle of the run, which defines the values of the predicted mask.

    Raises:
        ImageFault: A mask is missing or unreadable, or contains values that are not in the label table.
    """
    mask_values = parse_mask_values(recipe.data.mask_values or {})
    predicted_values = MaskValues(classes_by_value={label.value: label.name for label in bundle.labels})
    prediction_file = run.validation / f"{pair.name}.png"
    truth = mask_values.encode(read_mask(pair.mask), file=pair.mask)
    return truth, predicted_values.encode(read_mask(prediction_file), file=prediction_file)
