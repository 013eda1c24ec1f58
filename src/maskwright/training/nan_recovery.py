"""Recover from a NaN or infinite loss: return to the last checkpoint at half the learning rate."""

from pathlib import Path
from typing import Final

from maskwright.errors import InputError
from maskwright.training.state import State

_MAX_RETRIES: Final = 3  # maximum number of consecutive returns to one checkpoint
_KEPT_FIELDS: Final = (
    "first_step_ended",
    "best",
    "best_step",
    "best_sample",
    "validation_images",
    "snapshots",
    "reserved_seconds",
)


class LossNotFinite(InputError):
    """A loss or weights that became NaN or infinite, even at lower learning rates."""

    text = (
        "The {fault} at step {step} of {run}, at a peak learning rate of {peak:g} and after {times} returns to one "
        "checkpoint. Train again with --overwrite and a lower training.learning_rate."
    )


class NotFinite(Exception):
    """A loss or a weight that became NaN or infinite, as described in the message."""


def recovered_state(current: State, saved: State | None, fault: NotFinite, *, run: Path, peak: float) -> State:
    """Return the state with which training continues from a checkpoint at half of the current learning rate.

    The time, the best network, its score and the snapshots are those of ``current``. A sentence about the recovery is
    added to `State.nan_recoveries`.

    Args:
        current: State in which the loss or a weight was NaN or infinite.
        saved: State from the last checkpoint, which is modified in place; None if there is no checkpoint.
        fault: Exception that describes the NaN or infinite value.
        run: Folder of the run, which is named in the error message.
        peak: Peak learning rate of the recipe.

    Raises:
        LossNotFinite: There is no checkpoint, or training did not get beyond it after three consecutive recoveries.
    """
    repeats = saved is not None and saved.step <= current.retried_step
    retries = current.retries if repeats else 0
    if saved is None or retries == _MAX_RETRIES:
        raise LossNotFinite(fault=fault, step=current.step, run=run, peak=peak * current.lr_factor, times=retries)
    for name in _KEPT_FIELDS:
        setattr(saved, name, getattr(current, name))
    saved.lr_factor = current.lr_factor / 2
    saved.retries, saved.retried_step = retries + 1, saved.step
    sentence = (
        f"The {fault} at step {current.step}: training returns to the checkpoint at step {saved.step} "
        f"and halves the learning rate, to a peak of {peak * saved.lr_factor:g}."
    )
    saved.nan_recoveries = [*current.nan_recoveries, sentence]
    return saved
