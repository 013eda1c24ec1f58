"""Detect classes that are missed completely by a network in several consecutive validations."""

from collections.abc import Mapping, Sequence
from typing import Final

from maskwright.metrics.scores import Scores

OVERSAMPLED_FRACTION: Final = 0.33
"""Fraction of the patches placed to contain a random pixel of a missed class, in images that contain the class."""
_MIN_VALIDATIONS: Final = 2
_MIN_PROGRESS: Final = 0.1  # progress of the run before which no class counts as missed


def count_missed_validations(scores: Scores, previous: Mapping[str, int], *, progress: float) -> dict[str, int]:
    """Return the number of consecutive validations without a true positive, for each missed class.

    A class counts as missed if the ground truth contains pixels of the class and the recall is 0.

    Args:
        scores: Scores of the last validation.
        previous: Result of this function for the previous validation.
        progress: Progress of the run, in [0, 1].

    >>> import numpy as np
    >>> scores = Scores.from_confusion(np.array([[9, 0], [4, 0]]), ["road", "pole"], background=False)
    >>> count_missed_validations(scores, {"pole": 1, "road": 3}, progress=0.5)
    {'pole': 2}
    """
    if progress < _MIN_PROGRESS:
        return {}
    return {score.name: previous.get(score.name, 0) + 1 for score in scores.classes if score.recall == 0}


def missed_classes(missed_validations: Mapping[str, int]) -> list[str]:
    """Return the names of classes that were missed in at least two consecutive validations."""
    return [name for name, count in missed_validations.items() if count >= _MIN_VALIDATIONS]


def missed_classes_message(names: Sequence[str]) -> str:
    """Return the message about newly missed classes.

    >>> missed_classes_message(["pole"])
    'No pixel of pole was predicted correctly so far; in images with it, a third of the patches now contain it.'
    >>> missed_classes_message(["a", "b"])
    'No pixel of a or b was predicted correctly so far; in images with them, a third of the patches now contain one.'
    """
    pronoun, contained = ("it", "it") if len(names) == 1 else ("them", "one")
    found = f"No pixel of {' or '.join(names)} was predicted correctly so far"
    return f"{found}; in images with {pronoun}, a third of the patches now contain {contained}."
