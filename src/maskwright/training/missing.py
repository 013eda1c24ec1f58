"""Classes that a network does not find at all, validation after validation."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

SHARE: Final = 0.33
"""Of the patches that are laid on such a class, where the image has it."""
_VALIDATIONS: Final = 2


def never_found(history: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """Those of ``names`` whose pixels were there and of which none was found, in the last two validations.

    Args:
        history: Lines of a run's history, of which some hold no validation.
        names: Names of classes.

    >>> rows = [{"val_mean_iou": 0.4, "val_iou_pole": 0.0, "val_iou_car": iou} for iou in (0.0, 0.1)]
    >>> never_found(rows, ["pole", "car"]), never_found(rows[:1], ["pole", "car"])
    (['pole'], [])
    """
    validated = [row for row in history if row["val_mean_iou"] is not None][-_VALIDATIONS:]
    if len(validated) < _VALIDATIONS:
        return []
    return [name for name in names if all(row.get(f"val_iou_{name}") == 0 for row in validated)]


def told(names: Sequence[str]) -> str:
    """The sentence for the user.

    >>> told(["pole", "sign"])
    'Not one pixel of pole or sign is found so far: from here on a third of the patches are laid on them.'
    """
    them = "it" if len(names) == 1 else "them"
    share = "from here on a third of the patches are laid on"
    return f"Not one pixel of {' or '.join(names)} is found so far: {share} {them}."
