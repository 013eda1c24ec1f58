"""Why runs cannot be compared."""

from maskwright.errors import InputError


class TooFewRuns(InputError):
    """Fewer runs than two, or one given twice."""

    text = "cannot compare {found}; expected two or more runs, each once."


class UnfinishedRun(InputError):
    """A run that was never scored."""

    text = (
        "{folder}: has not finished, {missing} is missing; "
        "finish it with: maskwright train --resume --out {folder}, or compare without it."
    )


class DamagedRun(InputError):
    """A file of a run that holds something else than a training writes, or that contradicts another one."""

    text = "{folder}: cannot be compared, {file}: {found}; expected what a training wrote. Compare without this run."


class NoCounts(InputError):
    """A run of an older version, whose counts can no longer be taken from its masks."""

    text = (
        "{folder}: {file} is of an older version and has no pixel counts of each image, "
        "and they cannot be counted again: {found} Put the files back, or train again."
    )


class OtherClasses(InputError):
    """Runs that tell different things apart."""

    text = "{folder}: its classes are {found}, those of {first} are {expected}; expected the same in the same order."


class NothingShared(InputError):
    """Runs without a validation image in common."""

    text = (
        "{folders}: no validation image is common to all of these runs; "
        "expected one validation set: train with the same --val-images and --val-masks, or the same pairs and seed."
    )


class OtherMasks(InputError):
    """A validation image of one name that has different masks in two runs."""

    text = (
        "{folder}: the mask of validation image {name} has other pixels than in {first} "
        "({differing} of {shared} images differ); expected the same masks and the same ignored value. "
        "Train both with the same --val-masks."
    )
