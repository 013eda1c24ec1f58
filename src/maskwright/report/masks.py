"""The masks a run was scored on: the truth where it was in training, the prediction where the run keeps it."""

import numpy as np
from numpy.typing import NDArray

from maskwright.data.mask_values import MaskValues, parse_mask_values
from maskwright.data.pairs import Pair
from maskwright.images.read import read_mask
from maskwright.inference.bundle import Bundle
from maskwright.training.recipe import Recipe
from maskwright.training.run import Run

IdMask = NDArray[np.uint8]


def truth_and_guess(pair: Pair, *, run: Run, recipe: Recipe, bundle: Bundle) -> tuple[IdMask, IdMask]:
    """Label indices of a validation pair's mask and of what was predicted, (h, w) each.

    Raises:
        ImageFault: A file is gone or cannot be read, or holds values that mean nothing.
    """
    mask_values = parse_mask_values(recipe.data.mask_values or {})
    predicted = MaskValues(words={label.value: label.name for label in bundle.labels})
    guess_file = run.validation / f"{pair.name}.png"
    truth = mask_values.encode(read_mask(pair.mask), file=pair.mask)
    return truth, predicted.encode(read_mask(guess_file), file=guess_file)
