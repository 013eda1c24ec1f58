"""Errors raised when runs are compared."""

from maskwright.errors import InputError


class TooFewRuns(InputError):
    """A comparison of fewer than two runs, or of a run with itself."""

    text = "cannot compare {found}; expected two or more different runs."


class UnfinishedRun(InputError):
    """A run without scores, because its training did not finish."""

    text = (
        "{folder}: the run is unfinished ({missing} is missing). "
        "Finish it with `maskwright train --resume --out {folder}`, or compare without it."
    )


class ClassesDiffer(InputError):
    """Runs whose classes differ, so that they cannot be compared."""

    text = "{folder}: classes are {found}, but those of {first} are {expected}; expected the same in the same order."


class NoSharedImages(InputError):
    """Runs that have no validation image in common."""

    text = (
        "{folders}: these runs have no validation image in common; expected the same validation set. "
        "Train with the same --val-images and --val-masks, or with the same pairs and seed."
    )


class MasksDiffer(InputError):
    """A validation image whose ground-truth masks differ between two runs."""

    text = (
        "{folder}: the mask of validation image {name} differs in pixel counts from that in {first} "
        "({differing} of {shared} images differ); expected the same masks and the same ignored value. "
        "Train both runs with the same --val-masks."
    )
