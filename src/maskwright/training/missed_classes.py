"""Classes that a network does not find at all, validation after validation."""

from collections.abc import Mapping, Sequence
from typing import Final

from maskwright.metrics.scores import Scores

SHARE: Final = 0.33
"""Of the patches that are laid on such a class, where the image has it."""
_VALIDATIONS: Final = 2
_EARLY: Final = 0.1  # of the run: before, nothing is to be expected


def not_found(scores: Scores, before: Mapping[str, int], *, share: float) -> dict[str, int]:
    """In how many validations in a row no pixel was found of classes that have pixels, those of one at least.

    Args:
        scores: Of the last validation.
        before: The answer after the validation before it.
        share: How much of the run is over, 0 to 1.

    >>> import numpy as np
    >>> scores = Scores.from_confusion(np.array([[9, 0], [4, 0]]), ["road", "pole"], background=False)
    >>> not_found(scores, {"pole": 1, "road": 3}, share=0.5)
    {'pole': 2}
    """
    if share < _EARLY:
        return {}
    return {one.name: before.get(one.name, 0) + 1 for one in scores.classes if one.recall == 0}


def missing(unfound: Mapping[str, int]) -> list[str]:
    """The classes to be sought: those that were not found in two validations in a row."""
    return [name for name, times in unfound.items() if times >= _VALIDATIONS]


def told(names: Sequence[str]) -> str:
    """The sentence for the user.

    >>> told(["pole", "sign"])
    'Not one pixel of pole or sign is found so far: from here on a third of the patches of images with them show them.'
    """
    them = "it" if len(names) == 1 else "them"
    share = "from here on a third of the patches of images with"
    return f"Not one pixel of {' or '.join(names)} is found so far: {share} {them} show {them}."
